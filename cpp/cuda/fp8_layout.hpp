// What the FP8 kernels read, where it differs from weight_layout.hpp and TiledRows.
//
// K order. In each 64 K, position 32s + 16h + 4t + c (s, h in 0..1, t, c in 0..3), which is lane
// t's in instruction s, holds element 32 (t / 2) + 16s + 8h + 4 (t % 2) + c: then a lane has one
// block of 32 K of a row, and looks up with one scale. 16 positions are 8 elements of either block.
// Weights and tokens agree on it; sums don't mind.
//
// Weights (MXFP4 only). The tiles of weight_layout.hpp with other words: words 0 and 2 of a lane
// are row g of instructions 0 and 1, words 1 and 3 row g + 8, each with eight codes: magnitudes in
// the low three bits of nibble i, for positions 4t + i (i < 4) and 16 + 4t + i - 4. Bit 3 of the
// odd nibbles 1, 3, 5, 7 is the sign of codes 0..3, of the even nibbles 0, 2, 4, 6 that of
// codes 4..7: bytes' top bits, and four below. A word of scales has a byte for row g and one for
// row g + 8 of the first block, then of the second. A scale is an exponent 0..11 relative to its
// row: the row's largest is 11, which makes 6 * 2^(11 - 5) = 384, and 0 leaves 0.5 * 2^-5, E4M3's
// smallest normal number. So a row whose blocks span at most a factor of 2^11 is exact;
// ExpertScalars and a power of two for each row (Epilogue::row_scales) carry the rest.
//
// Tokens. As TiledRows, 128 elements of one byte where it has 64 of two.
#pragma once

#include <cstdint>

#include "support/host_device.hpp"

namespace moe4j::cuda {

inline constexpr int kFp8TileK = 128;
inline constexpr int32_t kFp8LargestExponent = 11;

/** Where 16 elements lie, from position `k` on; `data` and `capacity` as in TiledRows. */
MOE4J_HOST_DEVICE inline uint8_t* fp8_chunk(uint8_t* data, int64_t capacity, int64_t row,
                                            int32_t k) {
  return data + ((k >> 7) * capacity + row) * 128 + (((k >> 4 & 7) ^ (row & 7)) << 4);
}

}  // namespace moe4j::cuda
