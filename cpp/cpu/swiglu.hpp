// SwiGLU in plain loops that the compiler vectorizes for whatever instruction set includes this.
// Everything here is static: see kernels.hpp for why kernels share no linkable functions.
#pragma once

#include <cstdint>
#include <cstring>

/**
 * e^x to 2 units in the last place between -87 and 88; below, the value there, and above, infinity
 * (from 2^127.5 on). NaN stays.
 * Range reduction x = n ln 2 + r with ln 2 in two parts, then a polynomial (Cephes' expf).
 */
static inline float moe4j_exp(float x) {
  const float low = -87.0f, high = 89.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504088896341f + rounder;
  const float n = shifted - rounder;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  uint32_t bits;  // unsigned: a NaN's wrap around, and p is NaN whatever they are
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits - 0x4B400000u + 127u) << 23;  // 2^n
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

static inline void moe4j_swiglu(int64_t count, const float* gate, const float* up, float alpha,
                                float beta, float limit, float* h) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = gate[i] > limit ? limit : gate[i];
    float u = up[i] > limit ? limit : up[i];
    u = u < -limit ? -limit : u;
    h[i] = g / (1.0f + moe4j_exp(-alpha * g)) * (u + beta);
  }
}
