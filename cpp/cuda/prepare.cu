// Repacks checkpoint weights into weight_layout.hpp's order, on the device.
#include "cuda/dequant/packed_words.hpp"
#include "cuda/kernels.hpp"
#include "formats/block_format.hpp"
#include "formats/e4m3.hpp"
#include "formats/ue8m0.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    survey_scales(int32_t format_id, int64_t rows, int64_t columns, const LinearMatrix matrix,
                  ScaleSurvey* survey) {
  const bool is_e8m0 = block_format(format_id).scale_dtype == MOE4J_UE8M0;
  uint32_t largest = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < rows * columns;
       i += stride) {
    const uint8_t scale = matrix.scales[i / columns * matrix.scale_row_stride + i % columns];
    if (is_e8m0 ? scale == kUe8m0NaN : e4m3_is_nan(scale)) {
      atomicMax(&survey->nan_complement, ~static_cast<unsigned long long>(i));
    } else {
      largest = max(largest, static_cast<uint32_t>(scale));
    }
  }
  largest = __reduce_max_sync(0xFFFFFFFFu, largest);
  if (threadIdx.x % 32 == 0) atomicMax(&survey->largest, largest);
}

/** A row of one of the source matrices, or none (padding). */
struct SourceRow {
  const uint8_t* codes;
  const uint8_t* scales;
  uint32_t largest_scale;
};

struct Prepare {
  int64_t rows;  // of each source matrix
  int32_t k;
  LinearMatrix matrices[2];
  bool gated;
  const ScaleSurvey* surveys;
  uint8_t* prepared;
  WeightLayout layout;

  /** Source of strip row g (half 0) or g + 8 (half 1). */
  __device__ SourceRow row(int64_t strip, int g, int half) const {
    const int64_t feature = gated ? strip * 8 + g : strip * kStripRows + 2 * g + half;
    const int which = gated ? half : 0;
    if (feature >= rows) return {nullptr, nullptr, 0};
    const LinearMatrix& m = matrices[which];
    return {m.codes + feature * m.row_stride,
            m.scales == nullptr ? nullptr : m.scales + feature * m.scale_row_stride,
            surveys[which].largest};
  }
};

/** A block scale in the layout's form, and what it does to its codes. */
struct PreparedScale {
  uint8_t bits;
  uint8_t code_mask;  // 0 zeroes codes
  uint8_t code_flip;  // 8 negates them
};

__device__ PreparedScale prepare_nvfp4_scale(uint8_t e4m3) {
  const int magnitude = e4m3 & 0x7F;
  if (magnitude == 0) return {0, 0, 0};
  int exponent = magnitude >> 3;
  int mantissa = magnitude & 7;
  if (exponent == 0) {  // a subnormal: e5m3 has room for its exponent
    exponent = 1;
    while (mantissa < 8) {
      mantissa *= 2;
      --exponent;
    }
    mantissa &= 7;
  }
  // 2^(exponent - 7) becomes exponent field exponent + 15: 448's 8 + 7 is the largest, 30.
  return {static_cast<uint8_t>((exponent + 15) << 3 | mantissa), 0xF,
          static_cast<uint8_t>(e4m3 >> 7 << 3)};
}

__device__ PreparedScale prepare_mxfp4_scale(uint8_t ue8m0, uint32_t largest) {
  // The largest scale gets BF16's largest exponent, 254.
  const int field = static_cast<int>(ue8m0) - static_cast<int>(largest) + 254;
  if (field <= 0) return {0, 0, 0};
  return {static_cast<uint8_t>(field), 0xF, 0};
}

template <int kFormat>
__device__ PreparedScale prepare_scale(const SourceRow& row, int32_t k, int32_t valid_k) {
  constexpr int kBlock = kFormat == MOE4J_FORMAT_NVFP4 ? 16 : 32;
  if (row.codes == nullptr || k >= valid_k) return {0, 0, 0};
  const uint8_t scale = row.scales[k / kBlock];
  return kFormat == MOE4J_FORMAT_NVFP4 ? prepare_nvfp4_scale(scale)
                                       : prepare_mxfp4_scale(scale, row.largest_scale);
}

/** A block's tile: row blocks first, as they lie in memory. Either count may pass 65535. */
struct TilePlace {
  int64_t row_block;
  int32_t k;
  uint8_t* bytes;

  __device__ explicit TilePlace(const Prepare& args)
      : row_block(blockIdx.x / static_cast<unsigned>(args.layout.k_blocks)),
        k(static_cast<int32_t>(blockIdx.x % static_cast<unsigned>(args.layout.k_blocks)) * kTileK),
        bytes(args.prepared + static_cast<int64_t>(blockIdx.x) * args.layout.tile_bytes) {}
};

/** Thread = lane of a strip of a tile; block = the four strips of one tile. */
template <int kFormat>
__global__ void __launch_bounds__(kThreads) prepare_fp4(const Prepare args) {
  using Place = StripPlace<kFormat>;
  constexpr int kScalesPerRow = Place::kScaleBytes / 2;
  constexpr int kStepsPerScale = 4 / kScalesPerRow;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int strip = static_cast<int>(threadIdx.x) / 32;
  const int g = lane / 4;
  const int t = lane % 4;
  const TilePlace tile(args);
  const int64_t strip_index = tile.row_block * kStripsPerTile + strip;
  const SourceRow rows[2] = {args.row(strip_index, g, 0), args.row(strip_index, g, 1)};

  uint32_t words[4];
  uint32_t scales[kScalesPerRow / 2] = {};  // of two for each row
  for (int j = 0; j < 4; ++j) {
    const int32_t k = tile.k + j * 16;
    uint32_t registers[4];  // rows g, g + 8, g, g + 8; lower, lower, upper, upper 8 of the step's K
    for (int half = 0; half < 2; ++half) {
      const PreparedScale scale = prepare_scale<kFormat>(rows[half], k, args.k);
      if (j % kStepsPerScale == 0) {
        const int i = j / kStepsPerScale;
        scales[i / 2] |= static_cast<uint32_t>(scale.bits) << (16 * half + 8 * (i % 2));
      }
      for (int upper = 0; upper < 2; ++upper) {
        const int32_t at = k + 2 * t + 8 * upper;
        const uint8_t both =
            rows[half].codes != nullptr && at < args.k ? rows[half].codes[at / 2] : 0;
        const uint32_t even = ((both & 0xFu) ^ scale.code_flip) & scale.code_mask;
        const uint32_t odd = ((both >> 4u) ^ scale.code_flip) & scale.code_mask;
        const uint32_t pair = even | odd << 16;
        registers[half + 2 * upper] = (pair & 0x00080008u) << 12 | (pair & 0x00070007u) << 6;
      }
    }
    words[j] = pack_fp4(registers);
  }
  *reinterpret_cast<uint4*>(tile.bytes + Place::codes_offset(strip, lane)) =
      make_uint4(words[0], words[1], words[2], words[3]);
  if (t != 0) return;
  auto* prepared_scales =
      reinterpret_cast<uint32_t*>(tile.bytes + Place::scales_offset(strip, lane));
  for (int i = 0; i < kScalesPerRow / 2; ++i) {
    prepared_scales[i] = pack_scales<kFormat>(scales[i]);
  }
}

__global__ void __launch_bounds__(kThreads) prepare_bf16(const Prepare args) {
  using Place = StripPlace<MOE4J_FORMAT_BF16>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int strip = static_cast<int>(threadIdx.x) / 32;
  const TilePlace tile(args);
  const int64_t strip_index = tile.row_block * kStripsPerTile + strip;
  for (int j = 0; j < 4; ++j) {
    uint32_t registers[4];
    for (int r = 0; r < 4; ++r) {
      const SourceRow row = args.row(strip_index, lane / 4, r % 2);
      const int32_t k = tile.k + j * 16 + lane % 4 * 2 + r / 2 * 8;
      const uint16_t* codes = reinterpret_cast<const uint16_t*>(row.codes);
      const uint32_t even = codes != nullptr && k < args.k ? codes[k] : 0;
      const uint32_t odd = codes != nullptr && k + 1 < args.k ? codes[k + 1] : 0;
      registers[r] = even | odd << 16;
    }
    *reinterpret_cast<uint4*>(tile.bytes + Place::codes_offset(strip, lane) + j * 512) =
        make_uint4(registers[0], registers[1], registers[2], registers[3]);
  }
}

}  // namespace

void launch_survey_scales(CheckedStream& stream, int32_t format, int64_t rows, int64_t k,
                          const LinearMatrix& matrix, ScaleSurvey* survey) {
  constexpr int kBlocks = 256;
  survey_scales<<<kBlocks, kThreads, 0, stream.get()>>>(
      format, rows, k / block_format(format).block, matrix, survey);
  stream.check("survey_scales");
}

void launch_prepare(CheckedStream& stream, int32_t format, const WeightLayout& layout, int64_t rows,
                    int64_t k, const LinearMatrix& first, const LinearMatrix* second,
                    const ScaleSurvey* surveys, uint8_t* prepared) {
  Prepare args = {};
  args.rows = rows;
  args.k = static_cast<int32_t>(k);
  args.matrices[0] = first;
  args.gated = second != nullptr;
  if (args.gated) args.matrices[1] = *second;
  args.surveys = surveys;
  args.prepared = prepared;
  args.layout = layout;
  const int64_t tiles = int64_t{layout.row_blocks} * layout.k_blocks;
  const auto kernel = format == MOE4J_FORMAT_NVFP4   ? prepare_fp4<MOE4J_FORMAT_NVFP4>
                      : format == MOE4J_FORMAT_MXFP4 ? prepare_fp4<MOE4J_FORMAT_MXFP4>
                                                     : prepare_bf16;
  kernel<<<static_cast<unsigned>(tiles), kThreads, 0, stream.get()>>>(args);
  stream.check("prepare");
}

}  // namespace moe4j::cuda
