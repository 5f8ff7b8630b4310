#include "cpu/instruction_set.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdio>
#include <cstring>

#include "support/message.hpp"

namespace moe4j {
namespace {

constexpr InstructionSet kAll[kNumInstructionSets] = {
    InstructionSet::kPortable,   InstructionSet::kAvx2,       InstructionSet::kAvx512,
    InstructionSet::kAvx512Vnni, InstructionSet::kAvx512Bf16, InstructionSet::kAmxInt8,
    InstructionSet::kAmxBf16};

#if defined(__x86_64__)

/** What CPUID says in leaf 7, EDX. */
constexpr unsigned kAmxBf16Bit = 1u << 22;
constexpr unsigned kAmxTileBit = 1u << 24;
constexpr unsigned kAmxInt8Bit = 1u << 25;

/** Whether the system lets this process use tile registers. Linux wants to be asked. */
bool request_tiles() noexcept {
  constexpr int kArchReqXcompPerm = 0x1023;
  constexpr int kXfeatureTileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) == 0;
}

bool has_amx(unsigned bit) noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kAmxTileBit) == 0 || (edx & bit) == 0) return false;
  static const bool granted = request_tiles();
  return granted;
}

#endif

}  // namespace

const char* name(InstructionSet set) noexcept {
  switch (set) {
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx512Vnni:
      return "avx512_vnni";
    case InstructionSet::kAvx512Bf16:
      return "avx512_bf16";
    case InstructionSet::kAmxInt8:
      return "amx_int8";
    case InstructionSet::kAmxBf16:
      return "amx_bf16";
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
    case InstructionSet::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case InstructionSet::kAvx512Bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    case InstructionSet::kAmxInt8:
      return avx512 && has_amx(kAmxInt8Bit);
    case InstructionSet::kAmxBf16:
      return avx512 && has_amx(kAmxBf16Bit);
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
          "max_instruction_set: found \"%s\", expected portable, avx2, avx512, "
          "avx512_vnni, avx512_bf16, amx_int8 or amx_bf16",
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
