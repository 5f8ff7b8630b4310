// The instruction sets that kernels are written for, in the order of preference.
#pragma once

#include <cstdint>

#include "support/status.hpp"

namespace moe4j {

enum class InstructionSet : int32_t {
  kPortable,
  kAvx2,
  kAvx512,
  kAvx512Vnni,  // INT8 activations only
  kAvx512Bf16,  // all others only
  kAmxInt8,     // as kAvx512Vnni
  kAmxBf16      // as kAvx512Bf16
};

inline constexpr int32_t kNumInstructionSets = 7;

/** "portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_int8" or "amx_bf16". */
const char* name(InstructionSet set) noexcept;

/** Whether this processor and its operating system run it. For AMX the system is asked to let this
 *  process use tile registers. */
bool is_supported(InstructionSet set) noexcept;

/** The best one that is supported and not above the one named; NULL or "" names no bound. */
Status best_instruction_set(const char* bound, InstructionSet* best) noexcept;

/** The supported ones up to `best`, in that order, separated by spaces. */
void list_instruction_sets(InstructionSet best, char (&list)[256]) noexcept;

}  // namespace moe4j
