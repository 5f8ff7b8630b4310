// What follows from a layer's description.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"

namespace moe4j {

/** Slots of a token: its k routed experts, then the fused shared ones. */
constexpr int32_t slots_per_token(const moe4j_layer_desc& desc) {
  return desc.top_k + desc.num_fused_shared_experts;
}

/** Experts whose weights this device holds, the shared ones included. */
constexpr int32_t num_held_experts(const moe4j_layer_desc& desc) {
  return desc.local_num_experts + desc.num_fused_shared_experts;
}

/** The most rows that `tokens` tokens can have here: no token chooses an expert twice. */
constexpr int64_t max_rows(const moe4j_layer_desc& desc, int64_t tokens) {
  const int32_t routed = desc.top_k < desc.local_num_experts ? desc.top_k : desc.local_num_experts;
  return tokens * (routed + desc.num_fused_shared_experts);
}

/** Whether GEMM1 has an up projection beside the gate's. */
constexpr bool has_gate(int32_t activation) {
  return activation != MOE4J_RELU2 && activation != MOE4J_IDENTITY;
}

}  // namespace moe4j
