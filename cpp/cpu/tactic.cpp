#include "cpu/tactic.hpp"

namespace moe4j {
namespace {

/** Counts the changes of kernels that make measured times of the same names worthless. */
constexpr uint64_t kTacticVersion = 1;

int32_t smallest_tile(InstructionSet set) {
  int32_t smallest = kMaxTileTokens;
  for (const CpuTactic& tactic : kCpuTactics) {
    if (tactic.instruction_set == set && tactic.tile_tokens < smallest) {
      smallest = tactic.tile_tokens;
    }
  }
  return smallest;
}

}  // namespace

bool is_offered(const CpuTactic& tactic, InstructionSet best) noexcept {
  if (tactic.instruction_set == InstructionSet::kPortable) return best == InstructionSet::kPortable;
  return tactic.instruction_set <= best && is_supported(tactic.instruction_set);
}

int32_t tactics_for(int64_t tokens, InstructionSet best, int32_t* ids, int32_t capacity) noexcept {
  int32_t count = 0;
  for (int32_t id = 0; id < kNumCpuTactics; ++id) {
    const CpuTactic& tactic = kCpuTactics[id];
    if (!is_offered(tactic, best)) continue;
    if (tactic.tile_tokens >= 2 * tokens &&
        tactic.tile_tokens > smallest_tile(tactic.instruction_set)) {
      continue;
    }
    if (count < capacity) ids[count] = id;
    ++count;
  }
  return count;
}

uint64_t tactic_table_hash(InstructionSet best) noexcept {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  const auto add = [&hash](uint64_t byte) { hash = (hash ^ byte) * 0x100000001B3u; };
  add(kTacticVersion);
  for (const CpuTactic& tactic : kCpuTactics) {
    if (!is_offered(tactic, best)) continue;
    for (const char* c = tactic.name; *c != '\0'; ++c) add(static_cast<uint8_t>(*c));
    add(static_cast<uint64_t>(tactic.tile_tokens));
    add(static_cast<uint64_t>(tactic.row_tile));
  }
  return hash;
}

}  // namespace moe4j
