#include "cpu/instruction_set.hpp"

#include <cstdio>
#include <cstring>

#include "support/message.hpp"

namespace moe4j {
namespace {

constexpr InstructionSet kAll[kNumInstructionSets] = {
    InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512,
    InstructionSet::kAvx512Bf16};

}  // namespace

const char* name(InstructionSet set) noexcept {
  switch (set) {
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx512Bf16:
      return "avx512_bf16";
    default:
      return "portable";
  }
}

bool is_supported(InstructionSet set) noexcept {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  switch (set) {
    case InstructionSet::kAvx2:
      return avx2;
    case InstructionSet::kAvx512:
      return avx512;
    case InstructionSet::kAvx512Bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    default:
      return true;
  }
#else
  return set == InstructionSet::kPortable;
#endif
}

Status best_instruction_set(const char* bound, InstructionSet* best) noexcept {
  InstructionSet highest = kAll[kNumInstructionSets - 1];
  if (bound != nullptr && *bound != '\0') {
    bool known = false;
    for (const InstructionSet set : kAll) {
      if (std::strcmp(bound, name(set)) != 0) continue;
      highest = set;
      known = true;
    }
    if (!known) {
      return invalid_argument(
          "max_instruction_set: found \"%s\", expected portable, avx2, avx512 or avx512_bf16",
          bound);
    }
  }
  for (const InstructionSet set : kAll) {
    if (set <= highest && is_supported(set)) *best = set;
  }
  return Status::ok();
}

void list_instruction_sets(InstructionSet best, char (&list)[256]) noexcept {
  size_t length = 0;
  for (const InstructionSet set : kAll) {
    if (set > best || !is_supported(set)) continue;
    const int added = std::snprintf(list + length, sizeof(list) - length, "%s%s",
                                    length == 0 ? "" : " ", name(set));
    length += static_cast<size_t>(added);
  }
}

}  // namespace moe4j
