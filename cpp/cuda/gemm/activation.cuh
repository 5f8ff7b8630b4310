// The activations of GEMM1, in F32; formulas as moe4j_activation documents them.
#pragma once

#include "cuda/arguments.hpp"

namespace moe4j::cuda {

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

/** Comparisons instead of fminf() let a NaN through. */
__device__ __forceinline__ float clamp_above(float x, float limit) { return x > limit ? limit : x; }
__device__ __forceinline__ float clamp_below(float x, float limit) { return x < limit ? limit : x; }

__device__ __forceinline__ float activate_swiglu(const ExpertScalars& expert, float g, float u) {
  g = clamp_above(g, expert.limit);
  u = clamp_below(clamp_above(u, expert.limit), -expert.limit);
  return g * sigmoid(expert.alpha * g) * (u + expert.beta);
}

__device__ __forceinline__ float activate_gated(int32_t activation, const ExpertScalars& expert,
                                                float g, float u) {
  if (activation == MOE4J_SITU) {
    return expert.beta * tanhf(u / expert.beta) * expert.alpha * tanhf(g / expert.alpha) *
           sigmoid(g);
  }
  if (activation == MOE4J_GEGLU) {
    constexpr float kSqrtHalf = 0.70710678f;
    g = clamp_above(g, expert.limit);
    u = clamp_below(clamp_above(u, expert.limit), -expert.limit);
    return 0.5f * g * (1.0f + erff(g * kSqrtHalf)) * u;
  }
  return activate_swiglu(expert, g, u);
}

__device__ __forceinline__ float activate_ungated(int32_t activation, float g) {
  if (activation == MOE4J_IDENTITY) return g;
  const float positive = clamp_below(g, 0.0f);
  return positive * positive;
}

}  // namespace moe4j::cuda
