// The router's dense projection, accumulated in F64.
#pragma once

#include <cstdint>

#include "cpu/kernels.hpp"
#include "support/thread_pool.hpp"

namespace moe4j {

/** Shapes and types as moe4j_router_logits() has them. */
struct RouterProjection {
  int64_t tokens;
  int64_t hidden_size;
  int64_t num_experts;
  int32_t hidden_dtype;
  const void* hidden_states;  // [T, H]
  int32_t weight_dtype;
  const void* weight;  // [E, H]
  int32_t bias_dtype;
  const void* bias;  // [E] or null
  float* logits;     // [T, E]
};

void router_logits(const RouterProjection& projection, const Kernels& kernels,
                   ThreadPool::Lease& threads) noexcept;

}  // namespace moe4j
