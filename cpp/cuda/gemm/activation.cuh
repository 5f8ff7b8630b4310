// The activations of GEMM1, in F32; formulas as moe4j_activation documents them.
#pragma once

#include "cuda/arguments.hpp"

namespace moe4j::cuda {

inline constexpr float kLog2E = 1.44269504f;

/** 1 / (1 + 2^-x): the two approximations, without the care for subnormals. */
__device__ __forceinline__ float sigmoid_base2(float x) {
  float power;
  float inverse;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-x));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
  return inverse;
}

/** Unlike fminf() and fmaxf() these let a NaN through. */
__device__ __forceinline__ float clamp_above(float x, float limit) {
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(limit));
  return y;
}
__device__ __forceinline__ float clamp_below(float x, float limit) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(limit));
  return y;
}

__device__ __forceinline__ float activate_swiglu(const ExpertScalars& expert, float g, float u) {
  g = clamp_above(g, expert.limit);
  u = clamp_below(clamp_above(u, expert.limit), -expert.limit);
  return g * sigmoid_base2(kLog2E * expert.alpha * g) * (u + expert.beta);
}

__device__ __forceinline__ float activate_gated(int32_t activation, const ExpertScalars& expert,
                                                float g, float u) {
  if (activation == MOE4J_SITU) {
    return expert.beta * tanhf(__fdividef(u, expert.beta)) * expert.alpha *
           tanhf(__fdividef(g, expert.alpha)) * sigmoid_base2(kLog2E * g);
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
