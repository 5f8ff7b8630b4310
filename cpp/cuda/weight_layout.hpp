// How prepared weights lie in device memory: the order in which matrix instructions consume them.
//
// A projection of one expert is cut into tiles of 64 rows x 64 K, row blocks first, K contiguous:
//
//   [expert][row block][k block] -> tile = [strip 0..3] codes, then [strip 0..3] scales
//
// A strip is 16 rows: what one warp feeds to mma.sync, and one warp's share of wgmma's 64. Inside a
// strip each lane's codes are contiguous (one 16-byte load has 64 K of FP4), and are the fragment
// of mma.cuh: no shuffle, no shared memory and no bank conflict lies between memory and the matrix
// unit. Rows and K are padded with zeros.
//
// Rows. GEMM1 with a gate: strip row g (0..7) is a gate row and g + 8 the up row of the same
// feature, so that one thread holds both halves of the activation; a strip has 8 features. All
// other projections: strip rows g and g + 8 are features 2g and 2g + 1, which are adjacent in the
// output.
//
// FP4 codes. Word j (0..3) of a lane has the 8 codes of its fragment for k 16j..16j+15. Register r
// takes one code from each half of the word (low half: even K):
//
//   bit   15  14  13  12 | 11 10 9 | 8 7 6 | 5 4 3 | 2 1 0
//         s0  s2  s3  s1 |   em3   |  em0  |  em1  |  em2
//
// A mask after a shift by 0, 3, 6 or -3 puts exponent and mantissa where BF16 has the low bits of
// its exponent and the high bit of its mantissa: the code times 2^-126, subnormals included.
//
// Scales, 8 rows g at a time: NVFP4 4 bytes of row g, 4 of row g + 8, one for each 16 K, as e5m3
// without sign (a zero scale zeroes its codes, a negative one negates them); MXFP4 2 and 2 bytes,
// one for each 32 K, as BF16 exponents relative to the matrix' largest scale. Both leave a factor
// to the epilogue (ExpertScalars), which keeps products of code and scale exact in BF16.
//
// BF16 weights: for each 16 K, each lane's four registers.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/host_device.hpp"

namespace moe4j::cuda {

inline constexpr int kTileRows = 64;
inline constexpr int kTileK = 64;
inline constexpr int kStripRows = 16;
inline constexpr int kStripsPerTile = kTileRows / kStripRows;

/** Bytes of one strip's share of a tile. */
struct StripLayout {
  int code_bytes;
  int scale_bytes;
  MOE4J_HOST_DEVICE constexpr int tile_bytes() const {
    return kStripsPerTile * (code_bytes + scale_bytes);
  }
};

MOE4J_HOST_DEVICE constexpr StripLayout strip_layout(int32_t weight_format) {
  return weight_format == MOE4J_FORMAT_NVFP4   ? StripLayout{512, 64}
         : weight_format == MOE4J_FORMAT_MXFP4 ? StripLayout{512, 32}
                                               : StripLayout{2048, 0};
}

/** One projection of all experts. */
struct WeightLayout {
  int32_t row_blocks;  // of kTileRows
  int32_t k_blocks;    // of kTileK
  int32_t tile_bytes;

  MOE4J_HOST_DEVICE int64_t row_block_bytes() const {
    return static_cast<int64_t>(k_blocks) * tile_bytes;
  }
  MOE4J_HOST_DEVICE int64_t expert_bytes() const { return row_blocks * row_block_bytes(); }
};

MOE4J_HOST_DEVICE constexpr int32_t ceil_div(int64_t a, int64_t b) {
  return static_cast<int32_t>((a + b - 1) / b);
}

MOE4J_HOST_DEVICE constexpr WeightLayout weight_layout(int32_t weight_format, int64_t rows,
                                                       int64_t k) {
  return {ceil_div(rows, kTileRows), ceil_div(k, kTileK), strip_layout(weight_format).tile_bytes()};
}

/** What NVFP4's recoded scales leave to the epilogue: products in registers are 2^-7 too small. */
inline constexpr float kNvfp4Residue = 128.0f;

}  // namespace moe4j::cuda
