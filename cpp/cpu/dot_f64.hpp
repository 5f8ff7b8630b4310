// Dot products accumulated in F64, in plain loops that the compiler vectorizes.
// Everything here is static: see kernels.hpp for why kernels share no linkable functions.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels.hpp"
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

/** Kernels::dot_f64: widens a piece of each row once, then multiplies all pairs of pieces. */
static inline void moe4j_dot_f64(const moe4j::DotTile& tile) {
  constexpr int64_t kPiece = 256;
  constexpr int64_t kLanes = 16;  // partial sums, so that additions overlap and vectorize
  constexpr int64_t kRows = moe4j::DotTile::kMaxRows;
  double a[kRows][kPiece];
  double b[kRows][kPiece];
  for (int64_t i = 0; i < kRows * kRows; ++i) tile.sums[i] = 0;
  for (int64_t first = 0; first < tile.k; first += kPiece) {
    const int64_t length = tile.k - first < kPiece ? tile.k - first : kPiece;
    const int64_t padded = (length + kLanes - 1) / kLanes * kLanes;
    for (int64_t i = 0; i < tile.a_rows; ++i) {
      moe4j_widen(tile.a_dtype, tile.a, i * tile.k + first, length, a[i]);
      for (int64_t rest = length; rest < padded; ++rest) a[i][rest] = 0;
    }
    for (int64_t j = 0; j < tile.b_rows; ++j) {
      moe4j_widen(tile.b_dtype, tile.b, j * tile.k + first, length, b[j]);
      for (int64_t rest = length; rest < padded; ++rest) b[j][rest] = 0;
    }
    for (int64_t i = 0; i < tile.a_rows; ++i) {
      for (int64_t j = 0; j < tile.b_rows; ++j) {
        double lanes[kLanes] = {};
        for (int64_t k = 0; k < padded; k += kLanes) {
          for (int64_t lane = 0; lane < kLanes; ++lane) {
            lanes[lane] += a[i][k + lane] * b[j][k + lane];
          }
        }
        double sum = 0;
        for (int64_t lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
        tile.sums[i * kRows + j] += sum;
      }
    }
  }
}
