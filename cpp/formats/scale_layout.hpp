// The two layouts of a matrix of block scales [rows, columns], a byte each.
//
// Linear is row-major, as checkpoints ship it. Swizzled 128x4 is what Blackwell's tensor cores
// read: rows are padded to 128 and columns to 4; tiles of 128x4 follow each other row-major, 512
// bytes each, and inside a tile
//
//   byte(r, c) = (r % 32) * 16 + (r / 32) * 4 + c          0 <= r < 128, 0 <= c < 4
//
// so that 16 adjacent bytes hold the four columns of rows r, r + 32, r + 64 and r + 96.
#pragma once

#include <cstdint>
#include <cstring>

#include "support/host_device.hpp"
#include "support/round_up.hpp"

namespace moe4j {

inline constexpr int64_t kScaleTileRows = 128;
inline constexpr int64_t kScaleTileColumns = 4;
inline constexpr int64_t kScaleTileBytes = kScaleTileRows * kScaleTileColumns;

/** Bytes of the swizzled layout, padding included. */
MOE4J_HOST_DEVICE constexpr int64_t swizzled_scale_bytes(int64_t rows, int64_t columns) {
  return ceil_div(rows, kScaleTileRows) * ceil_div(columns, kScaleTileColumns) * kScaleTileBytes;
}

/** Where element (row, column) of a matrix with `columns` columns lies in the swizzled layout. */
MOE4J_HOST_DEVICE constexpr int64_t swizzled_scale_offset(int64_t row, int64_t column,
                                                          int64_t columns) {
  const int64_t tile =
      (row / kScaleTileRows) * ceil_div(columns, kScaleTileColumns) + column / kScaleTileColumns;
  const int64_t r = row % kScaleTileRows;
  return tile * kScaleTileBytes + (r % 32) * 16 + (r / 32) * 4 + column % kScaleTileColumns;
}

/** Linear to swizzled, on the host; padding becomes zero. The two must not overlap. */
inline void swizzle_scales(int64_t rows, int64_t columns, const uint8_t* linear,
                           uint8_t* swizzled) noexcept {
  std::memset(swizzled, 0, static_cast<size_t>(swizzled_scale_bytes(rows, columns)));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      swizzled[swizzled_scale_offset(r, c, columns)] = linear[r * columns + c];
    }
  }
}

/** The inverse of swizzle_scales(); padding is not read. */
inline void unswizzle_scales(int64_t rows, int64_t columns, const uint8_t* swizzled,
                             uint8_t* linear) noexcept {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      linear[r * columns + c] = swizzled[swizzled_scale_offset(r, c, columns)];
    }
  }
}

}  // namespace moe4j
