// The table of CPU tactics, made from tactics/cpu.def.
#pragma once

#include <cstdint>

#include "cpu/instruction_set.hpp"
#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"

namespace moe4j {

struct CpuTactic {
  const char* name;
  InstructionSet instruction_set;
  int32_t tile_tokens;
  int32_t row_tile;
};

inline constexpr CpuTactic kCpuTactics[] = {
#define MOE4J_CPU_TACTIC(name, instruction_set, tile_tokens, row_tile) \
  {name, InstructionSet::instruction_set, tile_tokens, row_tile},
#include "tactics/cpu.def"
#undef MOE4J_CPU_TACTIC
};

inline constexpr int32_t kNumCpuTactics = sizeof(kCpuTactics) / sizeof(kCpuTactics[0]);

#define MOE4J_CPU_TACTIC(name, instruction_set, tile_tokens, row_tile)                   \
  static_assert(tile_tokens <= kMaxTileTokens, name ": no kernel takes so many tokens"); \
  static_assert(row_tile % kPanelRows == 0 && row_tile > 0, name ": rows come in panels");
#include "tactics/cpu.def"
#undef MOE4J_CPU_TACTIC

/** Whether a device that is limited to `best` offers a tactic. The portable kernels are a fallback:
 *  they are offered only where nothing else is. */
bool is_offered(const CpuTactic& tactic, InstructionSet best) noexcept;

/**
 * The ids of the tactics worth trying for a token count, the default first: at most `capacity` of
 * them written, all of them counted. A tile that is twice the tokens or more is left out in favour
 * of the instruction set's smallest.
 */
int32_t tactics_for(int64_t tokens, InstructionSet best, int32_t* ids, int32_t capacity) noexcept;

/** Depends on names, parameters and kTacticVersion of all tactics that the device offers. */
uint64_t tactic_table_hash(InstructionSet best) noexcept;

}  // namespace moe4j
