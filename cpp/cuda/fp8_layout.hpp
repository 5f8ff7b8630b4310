// What the FP8 kernels read, where it differs from weight_layout.hpp and TiledRows.
//
// K order. Inside each 16 K, position 4t + c (t, c in 0..3) holds element 2t + c % 2 + 8 (c / 2):
// then the eight codes of a lane in 32 K are the same ones as in the BF16 order, and packing never
// crosses lanes. Weights and tokens agree on it; sums don't mind.
//
// Weights (MXFP4 only). The tiles of weight_layout.hpp with other words: words 0 and 2 of a lane
// are row g, words 1 and 3 row g + 8, each with the eight codes of 32 K: magnitudes in the low
// three bits of nibble i, for positions 4t + i (i < 4) and 16 + 4t + i - 4. Bit 3 of the odd
// nibbles 1, 3, 5, 7 is the sign of codes 0..3, of the even nibbles 0, 2, 4, 6 that of codes 4..7:
// bytes' top bits, and four below. A word of scales has bytes as pack_scales() takes them. A scale
// is an exponent 0..11 relative to its row: the row's largest is 11, which makes 6 * 2^(11 - 5) =
// 384, and 0 leaves 0.5 * 2^-5, E4M3's smallest normal number. So a row whose blocks span at most a
// factor of 2^11 is exact; ExpertScalars and a power of two for each row (Epilogue::row_scales)
// carry the rest.
//
// Tokens. As TiledRows, 128 elements of one byte where it has 64 of two.
#pragma once

#include <cstdint>

#include "support/host_device.hpp"

namespace moe4j::cuda {

inline constexpr int kFp8TileK = 128;
inline constexpr int32_t kFp8LargestExponent = 11;

/** Where the chunk of 16 elements from `k` on lies; `data` and `capacity` as in TiledRows. */
MOE4J_HOST_DEVICE inline uint8_t* fp8_chunk(uint8_t* data, int64_t capacity, int64_t row,
                                            int32_t k) {
  return data + ((k >> 7) * capacity + row) * 128 + (((k >> 4 & 7) ^ (row & 7)) << 4);
}

}  // namespace moe4j::cuda
