// The kernels in plain C++: for processors without any of the other instruction sets, and the
// definition that the fast ones are tested against.
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"
#include "cpu/swiglu.hpp"
#include "formats/bf16.hpp"
#include "formats/block_scale.hpp"
#include "formats/e2m1.hpp"

namespace moe4j {
namespace {

/** The bit at which the nibble of K % 8 lies in the 32 bits of a row; see panel_layout.hpp. */
constexpr int nibble_shift(int64_t k) { return static_cast<int>((k % 2) * 16 + (k % 8) / 2 * 4); }

/** The weights of one K of a chunk, for all rows of the panel. */
template <int32_t kFormat>
void decode(const uint8_t* chunk, int64_t k, float* weights) {
  constexpr BlockFormat format = block_format(kFormat);
  for (int64_t row = 0; row < kPanelRows; ++row) {
    if constexpr (kFormat == MOE4J_FORMAT_BF16) {
      const auto* codes = reinterpret_cast<const uint16_t*>(chunk);
      weights[row] = bf16_to_f32(codes[(k / 2 * kPanelRows + row) * 2 + k % 2]);
    } else {
      const auto* codes = reinterpret_cast<const uint32_t*>(chunk);
      const uint32_t code = codes[k / 8 * kPanelRows + row] >> nibble_shift(k);
      const uint8_t scale = chunk[chunk_code_bytes(kFormat) + k / format.block * kPanelRows + row];
      weights[row] =
          e2m1_decode(static_cast<uint8_t>(code & 0xF)) * decode_block_scale(format, scale);
    }
  }
}

template <int32_t kFormat>
void multiply(const PanelProduct& product) {
  float* sums = product.sums;
  for (int32_t i = 0; i < product.num_tiles; ++i) {
    const TokenTile& tile = product.tiles[i];
    for (int64_t j = 0; j < tile.tokens * kPanelRows; ++j) sums[j] = 0;
    for (int64_t k = 0; k < product.chunks * kChunkK; ++k) {
      float weights[kPanelRows];
      decode<kFormat>(product.panel + k / kChunkK * chunk_bytes(kFormat), k % kChunkK, weights);
      for (int64_t token = 0; token < tile.tokens; ++token) {
        const float element = static_cast<const float*>(tile.rows[token])[k];
        for (int64_t row = 0; row < kPanelRows; ++row) {
          sums[token * kPanelRows + row] += weights[row] * element;
        }
      }
    }
    sums += tile.tokens * kPanelRows;
  }
}

/** INT8: a block's sum of products of codes is an exact integer. */
template <int32_t kFormat>
void multiply_int8(const PanelProduct& product) {
  constexpr int64_t kBlock = block_format(kFormat).block;
  float* sums = product.sums;
  for (int32_t i = 0; i < product.num_tiles; ++i) {
    const TokenTile& tile = product.tiles[i];
    for (int64_t j = 0; j < tile.tokens * kPanelRows; ++j) sums[j] = 0;
    for (int64_t first = 0; first < product.chunks * kChunkK; first += kBlock) {
      const int64_t chunk = first / kChunkK;
      const uint8_t* panel = product.panel + chunk * chunk_bytes(kFormat);
      for (int64_t token = 0; token < tile.tokens; ++token) {
        const Int8Chunk& x = static_cast<const Int8Chunk*>(tile.rows[token])[chunk];
        const float x_scale = x.scales[first % kChunkK / kInt8Block] / 2;
        for (int64_t row = 0; row < kPanelRows; ++row) {
          int32_t sum = 0;
          for (int64_t k = first % kChunkK; k < first % kChunkK + kBlock; ++k) {
            const int64_t quad = k / 8 * 2 + k % 4 / 2;  // 0 4 1 5, then 2 6 3 7
            const int64_t place = k % 2 * 2 + k % 8 / 4;
            const uint32_t word =
                reinterpret_cast<const uint32_t*>(panel)[k / 8 * kPanelRows + row];
            sum += static_cast<int32_t>(
                       2 * e2m1_decode(static_cast<uint8_t>(word >> nibble_shift(k) & 0xF))) *
                   x.codes[quad * 4 + place];
          }
          const float scale = decode_block_scale(
              block_format(kFormat),
              panel[chunk_code_bytes(kFormat) + first % kChunkK / kBlock * kPanelRows + row]);
          sums[token * kPanelRows + row] += static_cast<float>(sum) * scale * x_scale;
        }
      }
    }
    sums += tile.tokens * kPanelRows;
  }
}

}  // namespace

const Kernels kPortableKernels = {
    InstructionSet::kPortable,
    {ActivationLayout::kF32,
     {multiply<MOE4J_FORMAT_BF16>, multiply<MOE4J_FORMAT_NVFP4>, multiply<MOE4J_FORMAT_MXFP4>}},
    {ActivationLayout::kInt8,
     {nullptr, multiply_int8<MOE4J_FORMAT_NVFP4>, multiply_int8<MOE4J_FORMAT_MXFP4>}},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

const Kernels& kernels(InstructionSet set) noexcept {
#if defined(__x86_64__)
  switch (set) {
    case InstructionSet::kAvx2:
      return kAvx2Kernels;
    case InstructionSet::kAvx512:
      return kAvx512Kernels;
    case InstructionSet::kAvx512Vnni:
      return kAvx512VnniKernels;
    case InstructionSet::kAvx512Bf16:
      return kAvx512Bf16Kernels;
    case InstructionSet::kAmxInt8:
      return kAmxInt8Kernels;
    case InstructionSet::kAmxBf16:
      return kAmxBf16Kernels;
    default:
      break;
  }
#endif
  static_cast<void>(set);
  return kPortableKernels;
}

}  // namespace moe4j
