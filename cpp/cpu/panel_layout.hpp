// How prepared weights lie in memory: one layout for all instruction sets.
//
// A matrix [rows, K] is cut into panels of 32 rows. A panel is a sequence of chunks of 64 K, so
// that one token streams through it with nothing but forward reads:
//
//   chunk of an FP4 format
//     codes   [K group of 8][32 rows][4 bytes]                                       1024 bytes
//     scales  [block][32 rows], a byte each                 NVFP4 128 bytes, MXFP4 64 bytes
//   chunk of BF16
//     codes   [pair of K][32 rows][2]                                                4096 bytes
//
// 64 bytes of FP4 codes are 16 rows of 8 K. The 32 bits of a row hold K 0 2 4 6 in their lower half
// and K 1 3 5 7 in their upper half, low nibbles first, so that
//
//   - as 16-bit words, the nibbles at bit 4j are K 2j and 2j + 1 of 16 rows: indices of a table of
//     BF16 values whose result is an operand of a BF16 pair dot product;
//   - as 32-bit words, the nibble at bit 4j is one K of 16 (or, in half a line, 8) rows: an index
//     of a table of F32 values;
//   - as bytes, the low nibbles are K 0 4 1 5 and the high nibbles K 2 6 3 7 of a row: two operands
//     of an 8-bit dot product of four.
//
// Block scales are not negative: a negative one has given its sign to the codes of its block.
// Rows and K beyond the matrix are zero codes with zero scales.
//
// GEMM1 of gated activations interleaves its two projections: the first 16 rows of a panel are the
// gate's, the last 16 the up projection's, for the same 16 elements of h.
#pragma once

#include <cstdint>

#include "formats/block_format.hpp"
#include "support/round_up.hpp"

namespace moe4j {

inline constexpr int64_t kPanelRows = 32;
inline constexpr int64_t kChunkK = 64;

/** Outputs of the activation in a gated panel. */
inline constexpr int64_t kGatedPanelRows = kPanelRows / 2;

constexpr int64_t chunks(int64_t k) { return ceil_div(k, kChunkK); }

/** K with its padding: the length of a token's vector as kernels read it. */
constexpr int64_t padded_k(int64_t k) { return round_up(k, kChunkK); }

constexpr int64_t chunk_code_bytes(int32_t weight_format) {
  return kPanelRows * block_format(weight_format).code_bytes(kChunkK);
}

constexpr int64_t chunk_bytes(int32_t weight_format) {
  return chunk_code_bytes(weight_format) +
         kPanelRows * block_format(weight_format).scale_bytes(kChunkK);
}

constexpr int64_t panel_bytes(int32_t weight_format, int64_t k) {
  return chunks(k) * chunk_bytes(weight_format);
}

}  // namespace moe4j
