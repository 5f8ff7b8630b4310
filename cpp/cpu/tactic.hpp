// The table of CPU tactics, made from tactics/cpu.def.
#pragma once

#include <cstdint>

#include "cpu/instruction_set.hpp"
#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"
#include "moe4j/moe4j.h"

namespace moe4j {

/** What activations a tactic multiplies: exact F32 or BF16 elements (to which other formats are
 *  decoded), or INT8 codes. */
enum class Activations : int32_t { kExact, kInt8 };

struct CpuTactic {
  const char* name;
  InstructionSet instruction_set;
  Activations activations;
  int32_t tile_tokens;
  int32_t row_tile;

  const Products& products() const noexcept {
    const Kernels& all = kernels(instruction_set);
    return activations == Activations::kInt8 ? all.int8 : all.exact;
  }
};

inline constexpr CpuTactic kCpuTactics[] = {
#define MOE4J_CPU_TACTIC(name, instruction_set, activations, tile_tokens, row_tile) \
  {name, InstructionSet::instruction_set, Activations::activations, tile_tokens, row_tile},
#include "tactics/cpu.def"
#undef MOE4J_CPU_TACTIC
};

inline constexpr int32_t kNumCpuTactics = sizeof(kCpuTactics) / sizeof(kCpuTactics[0]);

#define MOE4J_CPU_TACTIC(name, instruction_set, activations, tile_tokens, row_tile)      \
  static_assert(tile_tokens <= kMaxTileTokens, name ": no kernel takes so many tokens"); \
  static_assert(row_tile % kPanelRows == 0 && row_tile > 0, name ": rows come in panels");
#include "tactics/cpu.def"
#undef MOE4J_CPU_TACTIC

/** Whether a device that is limited to `best` has a tactic's kernels. The portable ones are a
 *  fallback: they are offered only where nothing else is. */
bool is_offered(const CpuTactic& tactic, InstructionSet best) noexcept;

/** Whether a tactic is offered and can run layers with this activation format. */
bool can_run(const CpuTactic& tactic, InstructionSet best, int32_t activation_format) noexcept;

/**
 * The ids of the tactics worth trying for a layer and a token count, the default first: at most
 * `capacity` of them written, all of them counted. A tile that is twice the tokens or more is left
 * out in favour of the smallest of the same kernels. AMX comes last where it does not pay.
 */
int32_t tactics_for(const moe4j_layer_desc& desc, int64_t tokens, InstructionSet best, int32_t* ids,
                    int32_t capacity) noexcept;

/** Depends on names, parameters and kTacticVersion of all tactics that the device offers. */
uint64_t tactic_table_hash(InstructionSet best) noexcept;

}  // namespace moe4j
