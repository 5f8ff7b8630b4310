// Prepared MXFP4 weights into the order of fp8_layout.hpp, in place: a tile at a time.
#include "cuda/dequant/packed_words.hpp"
#include "cuda/fp8_layout.hpp"
#include "cuda/kernels.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kThreads = 128;
using Place = StripPlace<MOE4J_FORMAT_MXFP4>;

/** A BF16 exponent, made by prepare_fp4, that a scale of its row's products can be made from. */
constexpr int32_t kSmallestField = 128;

/** A row of the prepared weights, by its place in a strip. */
struct StripRow {
  int strip;
  int g;
  int half;  // rows g, g + 8

  static __device__ StripRow of(int row) {
    return {row / kStripRows, row % 8, row % kStripRows / 8};
  }
  /** The word with its scales and those of row g + 8 or g. */
  __device__ uint32_t scales(const uint8_t* tile) const {
    return *reinterpret_cast<const uint32_t*>(tile + Place::scales_offset(strip, g * 4));
  }
};

/** The BF16 exponent of a block of 32 K. */
__device__ int32_t scale_field(uint32_t word, int half, int block) {
  return static_cast<int32_t>(scale_bytes<MOE4J_FORMAT_MXFP4>(word) >> (16 * half + 8 * block) &
                              0xFF);
}

/** Whether a block of 32 K of a row has codes other than 0 and -0. */
__device__ bool has_codes(const uint8_t* tile, const StripRow& row, int block) {
  const auto* codes =
      reinterpret_cast<const uint4*>(tile + Place::codes_offset(row.strip, row.g * 4));
  uint32_t any = 0;
  for (int t = 0; t < 4; ++t) {
    for (int step = 0; step < 2; ++step) {
      const uint32_t words[2] = {step == 0 ? codes[t].x : codes[t].y,
                                 step == 0 ? codes[t].z : codes[t].w};
      uint32_t registers[4];
      unpack_fp4(words[block], registers);
      any |= registers[row.half] | registers[row.half + 2];
    }
  }
  return (any & ~0x80008000u) != 0;
}

/** Block = 64 rows of one expert; thread = row and block of 32 K. Zeroes `fits` if a row cannot. */
__global__ void __launch_bounds__(kThreads)
    survey_rows(const uint8_t* weights, WeightLayout layout, float* row_scales, int32_t* fits) {
  const StripRow row = StripRow::of(static_cast<int>(threadIdx.x) / 2);
  const int block = static_cast<int>(threadIdx.x) % 2;
  const uint8_t* tile = weights + static_cast<int64_t>(blockIdx.x) * layout.row_block_bytes();
  int32_t largest = 0;
  int32_t smallest = 255;
  for (int32_t k_block = 0; k_block < layout.k_blocks; ++k_block, tile += layout.tile_bytes) {
    const int32_t field = scale_field(row.scales(tile), row.half, block);
    if (field == 0 || !has_codes(tile, row, block)) continue;
    largest = max(largest, field);
    smallest = min(smallest, field);
  }
  largest = max(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, 1));
  smallest = min(smallest, __shfl_xor_sync(0xFFFFFFFFu, smallest, 1));
  if (largest == 0) largest = 254;  // a row of zeros
  if (largest - min(smallest, largest) > kFp8LargestExponent || largest < kSmallestField) *fits = 0;
  if (block == 0) {
    // A code times 2^(field - 254), which prepare_fp4 meant, is what the look-up gives times this;
    // ExpertScalars takes products to be 2 too large.
    row_scales[static_cast<int64_t>(blockIdx.x) * kTileRows + threadIdx.x / 2] =
        ldexpf(1.0f, largest - 254 - (kFp8LargestExponent - 5) + 1);
  }
}

/**
 * A word of row g (half 0) or g + 8: four elements and the four 8 after them, from words of the 16
 * K that they are in, the first two elements from `lower`, the others from its neighbour `upper`.
 */
__device__ uint32_t pack_word(uint32_t lower, uint32_t upper, int half) {
  uint32_t registers[2][4];
  unpack_fp4(lower, registers[0]);
  unpack_fp4(upper, registers[1]);
  uint32_t packed = 0;
  for (int i = 0; i < 8; ++i) {
    const uint32_t code = registers[i / 2 % 2][half + i / 4 * 2] >> (i % 2 * 16);
    packed |= (code >> 6 & 7) << (4 * i) | (code >> 15 & 1)
                                               << (i < 4 ? 8 * i + 7 : 8 * (i - 4) + 3);
  }
  return packed;
}

/** Block = a tile, as they lie in memory; thread = lane of a strip. */
__global__ void __launch_bounds__(kThreads)
    pack_tiles(uint8_t* weights, WeightLayout layout, const float* row_scales) {
  __shared__ uint4 words[kThreads];
  const int64_t row_block = blockIdx.x / static_cast<unsigned>(layout.k_blocks);
  uint8_t* tile = weights + static_cast<int64_t>(blockIdx.x) * layout.tile_bytes;
  auto* codes = reinterpret_cast<uint4*>(tile) + threadIdx.x;
  words[threadIdx.x] = *codes;
  const int row = static_cast<int>(threadIdx.x) / 2;
  const int block = static_cast<int>(threadIdx.x) % 2;
  const StripRow place = StripRow::of(row);
  const int32_t field = scale_field(place.scales(tile), place.half, block);
  __syncthreads();  // others have read what this one writes
  const int t = static_cast<int>(threadIdx.x) % 4;
  const uint4* const from = words + (threadIdx.x & ~3u) + t % 2 * 2;
  const uint2 lower = t < 2 ? make_uint2(from[0].x, from[0].y) : make_uint2(from[0].z, from[0].w);
  const uint2 upper = t < 2 ? make_uint2(from[1].x, from[1].y) : make_uint2(from[1].z, from[1].w);
  *codes = make_uint4(pack_word(lower.x, upper.x, 0), pack_word(lower.x, upper.x, 1),
                      pack_word(lower.y, upper.y, 0), pack_word(lower.y, upper.y, 1));
  const float row_scale = row_scales[row_block * kTileRows + row];
  const int32_t largest = ilogbf(row_scale) + 254 + (kFp8LargestExponent - 5) - 1;
  // Blocks below 0 have no codes.
  tile[Place::scales_offset(place.strip, place.g * 4) + 2 * block + place.half] =
      static_cast<uint8_t>(max(0, field - largest + kFp8LargestExponent));
}

}  // namespace

void launch_survey_rows(CheckedStream& stream, const uint8_t* weights, const WeightLayout& layout,
                        int32_t experts, float* row_scales, int32_t* fits) {
  survey_rows<<<static_cast<unsigned>(experts * layout.row_blocks), kThreads, 0, stream.get()>>>(
      weights, layout, row_scales, fits);
  stream.check("survey_rows");
}

void launch_pack_fp8(CheckedStream& stream, uint8_t* weights, const WeightLayout& layout,
                     int32_t experts, const float* row_scales) {
  for (int32_t e = 0; e < experts; ++e) {
    const int64_t tiles = int64_t{layout.row_blocks} * layout.k_blocks;
    pack_tiles<<<static_cast<unsigned>(tiles), kThreads, 0, stream.get()>>>(
        weights + e * layout.expert_bytes(), layout,
        row_scales + static_cast<int64_t>(e) * layout.row_blocks * kTileRows);
  }
  stream.check("pack_tiles");
}

}  // namespace moe4j::cuda
