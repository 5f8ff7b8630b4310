// INT8 activations, quantized in plain loops that the compiler vectorizes for whatever instruction
// set includes this. Everything here is static: see kernels.hpp for why.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"

/** The codes of 16 elements, K 0 to 15, in the order in which panels have them. */
static inline void moe4j_arrange_codes(const int8_t* codes, int8_t* arranged) {
  typedef int8_t Bytes __attribute__((vector_size(16)));
  const Bytes order = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
  Bytes bytes;
  std::memcpy(&bytes, codes, sizeof(bytes));
  bytes = __builtin_shuffle(bytes, order);
  std::memcpy(arranged, &bytes, sizeof(bytes));
}

/** One block as moe4j.h defines it, codes widened; the scale of a block that is not finite is NaN.
 */
static inline float moe4j_quantize_int8_block(const float* values, int32_t* codes) {
  constexpr int kBlock = moe4j::kInt8Block;
  constexpr int32_t kInfinity = 0x7F800000;
  int32_t largest = 0;  // as bits, whose order is that of magnitudes; infinities and NaNs come last
  for (int i = 0; i < kBlock; ++i) {
    int32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    bits &= 0x7FFFFFFF;
    largest = bits > largest ? bits : largest;
  }
  float amax;
  std::memcpy(&amax, &largest, sizeof(amax));
  const float scale = amax / 127.0f;
  if (largest >= kInfinity || scale == 0) {
    std::memset(codes, 0, kBlock * sizeof(*codes));
    return largest >= kInfinity ? __builtin_nanf("") : 0.0f;
  }
  const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  for (int i = 0; i < kBlock; ++i) {
    float quotient = values[i] / scale;
    quotient = quotient < -127.0f ? -127.0f : quotient;
    quotient = quotient > 127.0f ? 127.0f : quotient;
    const float shifted = quotient + rounder;
    int32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    codes[i] = bits - 0x4B400000;
  }
  return scale;
}

/** Kernels::quantize_int8. */
static inline void moe4j_quantize_int8(const float* values, moe4j::Int8Chunk* chunk) {
  constexpr int kBlocks = moe4j::Int8Chunk::kBlocks;
  constexpr int kHalf = moe4j::kInt8Block / 2;
  int32_t wide[kBlocks * 2 * kHalf];
  for (int block = 0; block < kBlocks; ++block) {
    const int first = block * moe4j::kInt8Block;
    chunk->scales[block] = moe4j_quantize_int8_block(values + first, wide + first);
  }
  for (int half = 0; half < 2 * kBlocks; ++half) {
    int32_t sum = 0;
    for (int i = 0; i < kHalf; ++i) sum += wide[half * kHalf + i];
    chunk->half_offsets[half] = -moe4j::kInt8WeightOffset * sum;
  }
  for (int block = 0; block < kBlocks; ++block) {
    chunk->offsets[block] = chunk->half_offsets[2 * block] + chunk->half_offsets[2 * block + 1];
  }
  int8_t codes[kBlocks * 2 * kHalf];
  for (int i = 0; i < kBlocks * 2 * kHalf; ++i) codes[i] = static_cast<int8_t>(wide[i]);
  for (int half = 0; half < 2 * kBlocks; ++half) {
    moe4j_arrange_codes(codes + half * kHalf, chunk->codes + half * kHalf);
  }
}
