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
// FP4 codes. Word j (0..3) of a lane has the eight codes of its fragment for k 16j..16j+15,
// register r one in each half (low half: even K): rows g, g + 8, g, g + 8 and k 2t, 2t, 2t + 8, 2t
// + 8 of lane 4g + t. Which bits they are is in packed_words.hpp.
//
// Scales: for each g a word of four, also in packed_words.hpp. NVFP4 two words, for steps j = 0, 1
// and 2, 3, as e5m3 without sign (a zero scale zeroes its codes, a negative one negates them);
// MXFP4 one word, for the tile's two blocks of 32 K, as BF16 exponents relative to the matrix'
// largest scale. Both leave a factor to the epilogue (ExpertScalars), which keeps products of code
// and scale exact in BF16.
//
// BF16 weights: for each 16 K, each lane's four registers.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/host_device.hpp"
#include "support/round_up.hpp"

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

/** Where in a tile a lane's share of one strip lies. */
template <int kFormat>
struct StripPlace {
  static constexpr StripLayout kLayout = strip_layout(kFormat);
  static constexpr int kTileBytes = kLayout.tile_bytes();
  static constexpr int kScaleBytes = kLayout.scale_bytes / 8;  // of rows g and g + 8

  static MOE4J_HOST_DEVICE constexpr uint32_t codes_offset(int strip, int lane) {
    return strip * kLayout.code_bytes + lane * 16;
  }
  static MOE4J_HOST_DEVICE constexpr uint32_t scales_offset(int strip, int lane) {
    return kStripsPerTile * kLayout.code_bytes + strip * kLayout.scale_bytes +
           (lane >> 2) * kScaleBytes;
  }
};

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

MOE4J_HOST_DEVICE constexpr WeightLayout weight_layout(int32_t weight_format, int32_t rows,
                                                       int32_t k) {
  return {ceil_div(rows, kTileRows), ceil_div(k, kTileK), strip_layout(weight_format).tile_bytes()};
}

/** What NVFP4's recoded scales leave to the epilogue: products in registers are 2^-7 too small. */
inline constexpr float kNvfp4Residue = 128.0f;

}  // namespace moe4j::cuda
