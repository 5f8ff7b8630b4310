#include "cpu/tactic.hpp"

namespace moe4j {
namespace {

/** Counts the changes of kernels that make measured times of the same names worthless. */
constexpr uint64_t kTacticVersion = 6;

/** AMX decodes weights before it multiplies them, which so many tokens make up for; 8-bit dot
 *  products, which are faster, for longer. */
constexpr int64_t kAmxTokensPerExpert = 6;
constexpr int64_t kAmxInt8TokensPerExpert = 24;

bool is_amx(InstructionSet set) {
  return set == InstructionSet::kAmxInt8 || set == InstructionSet::kAmxBf16;
}

int32_t smallest_tile(const CpuTactic& like) {
  int32_t smallest = like.tile_tokens;
  for (const CpuTactic& tactic : kCpuTactics) {
    if (tactic.instruction_set == like.instruction_set && tactic.activations == like.activations &&
        tactic.tile_tokens < smallest) {
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

bool can_run(const CpuTactic& tactic, InstructionSet best, int32_t activation_format) noexcept {
  const bool int8 = activation_format == MOE4J_FORMAT_INT8;
  return is_offered(tactic, best) && int8 == (tactic.activations == Activations::kInt8);
}

int32_t tactics_for(const moe4j_layer_desc& desc, int64_t tokens, InstructionSet best, int32_t* ids,
                    int32_t capacity) noexcept {
  const bool int8 = desc.activation_format == MOE4J_FORMAT_INT8;
  const int64_t enough = int8 ? kAmxInt8TokensPerExpert : kAmxTokensPerExpert;
  // NVFP4's blocks of 16 leave three quarters of an 8-bit tile empty.
  const bool amx_last = (int8 && desc.weight_format == MOE4J_FORMAT_NVFP4) ||
                        tokens * desc.top_k < enough * desc.num_experts;
  int32_t count = 0;
  for (const bool postponed : {false, true}) {
    for (int32_t id = 0; id < kNumCpuTactics; ++id) {
      const CpuTactic& tactic = kCpuTactics[id];
      if (!can_run(tactic, best, desc.activation_format)) continue;
      if (postponed != (amx_last && is_amx(tactic.instruction_set))) continue;
      if (tactic.tile_tokens >= 2 * tokens && tactic.tile_tokens > smallest_tile(tactic)) continue;
      if (count < capacity) ids[count] = id;
      ++count;
    }
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
