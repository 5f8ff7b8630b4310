// The instruction sets that kernels are written for, in the order of preference.
#pragma once

#include <cstdint>

#include "support/status.hpp"

namespace moe4j {

enum class InstructionSet : int32_t { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

inline constexpr int32_t kNumInstructionSets = 4;

/** "portable", "avx2", "avx512" or "avx512_bf16". */
const char* name(InstructionSet set) noexcept;

/** Whether this processor and its operating system run it. */
bool is_supported(InstructionSet set) noexcept;

/** The best one that is supported and not above the one named; NULL or "" names no bound. */
Status best_instruction_set(const char* bound, InstructionSet* best) noexcept;

/** The supported ones up to `best`, in that order, separated by spaces. */
void list_instruction_sets(InstructionSet best, char (&list)[256]) noexcept;

}  // namespace moe4j
