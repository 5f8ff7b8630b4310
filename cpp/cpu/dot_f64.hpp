// Dot products accumulated in F64, in plain loops that the compiler vectorizes.
// Everything here is static: see kernels.hpp for why kernels share no linkable functions.
#pragma once

#include <cstdint>
#include <cstring>

#include "moe4j/moe4j.h"

/** `count` elements of F32 or BF16 as F64. Exact. */
static inline void moe4j_widen(int32_t dtype, const void* source, int64_t first, int64_t count,
                               double* values) {
  if (dtype == MOE4J_F32) {
    const float* floats = static_cast<const float*>(source) + first;
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<double>(floats[i]);
    return;
  }
  const uint16_t* halves = static_cast<const uint16_t*>(source) + first;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(halves[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    values[i] = static_cast<double>(value);
  }
}

/** Kernels::dot_f64: widens a piece of b once, then uses it for all rows of a. */
static inline void moe4j_dot_f64(int64_t rows, int64_t k, const double* a, int32_t b_dtype,
                                 const void* b, double* sums) {
  constexpr int64_t kPiece = 256;
  constexpr int64_t kLanes = 16;  // partial sums, so that additions overlap and vectorize
  double piece[kPiece];
  for (int64_t row = 0; row < rows; ++row) sums[row] = 0;
  for (int64_t first = 0; first < k; first += kPiece) {
    const int64_t length = k - first < kPiece ? k - first : kPiece;
    moe4j_widen(b_dtype, b, first, length, piece);
    const int64_t whole = length - length % kLanes;
    for (int64_t row = 0; row < rows; ++row) {
      const double* values = a + row * k + first;
      double lanes[kLanes] = {};
      for (int64_t i = 0; i < whole; i += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          lanes[lane] += values[i + lane] * piece[i + lane];
        }
      }
      double sum = 0;
      for (int64_t lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
      for (int64_t i = whole; i < length; ++i) sum += values[i] * piece[i];
      sums[row] += sum;
    }
  }
}
