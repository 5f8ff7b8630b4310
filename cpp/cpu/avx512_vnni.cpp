// Kernels for AVX-512 with 8-bit dot products of four: activations in INT8.
//
// The first factor of a product has no sign: it is twice the weight plus kInt8WeightOffset, from a
// byte shuffle. A block's sum begins with the offset that takes this back, so it is an exact
// integer; then it is multiplied by the scales of both sides in F32.
#include "cpu/avx512_panel.hpp"
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/swiglu.hpp"

namespace moe4j {
namespace {

/** 2 * E2M1 + kInt8WeightOffset, four times: a shuffle looks within 16 bytes. */
alignas(64) constexpr uint8_t kOffsetWeights[64] = {
    12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9,  8,  6,  4,  0,  12, 13, 14, 15, 16, 18,
    20, 24, 12, 11, 10, 9,  8,  6,  4,  0,  12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9,
    8,  6,  4,  0,  12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9,  8,  6,  4,  0};

struct Decoder {
  const __m512i table = _mm512_load_si512(kOffsetWeights);
  const __m512i low_nibble = _mm512_set1_epi8(0x0F);

  /** The weights of 16 rows and four K: half 0 has K 0 4 1 5 of eight, half 1 has K 2 6 3 7. */
  __m512i weights(__m512i codes, int half) const {
    const __m512i nibbles = half == 0 ? codes : _mm512_srli_epi16(codes, 4);
    return _mm512_shuffle_epi8(table, _mm512_and_si512(nibbles, low_nibble));
  }
};

template <class T>
T load_scalar(const uint8_t* bytes) {
  T value;
  __builtin_memcpy(&value, bytes, sizeof(value));
  return value;
}

__m512i broadcast_quad(const uint8_t* chunk, int index) {
  return _mm512_set1_epi32(load_scalar<int32_t>(chunk + index * 4));
}

__m512 broadcast_scale(const uint8_t* chunk, int block) {
  return _mm512_set1_ps(load_scalar<float>(chunk + offsetof(Int8Chunk, scales) + block * 4));
}

/** The offset of a weight block, which is as long as one of activations, or half of one. */
template <int kBlock>
__m512i broadcast_offset(const uint8_t* chunk, int block) {
  constexpr int64_t kOffsets =
      kBlock == kInt8Block ? offsetof(Int8Chunk, offsets) : offsetof(Int8Chunk, half_offsets);
  return _mm512_set1_epi32(load_scalar<int32_t>(chunk + kOffsets + block * 4));
}

struct Int8Tile {
  static constexpr ActivationLayout kLayout = ActivationLayout::kInt8;

  template <class Format>
  static constexpr float unit() {
    return Format::kUnit / 2;
  }

  template <class Format>
  static constexpr int most_in_one_pass() {
    return 8;
  }

  /** Both halves of a panel, so that an element that was broadcast is multiplied twice. */
  template <class Format, int kTokens>
  static void multiply(const uint8_t* panel, int64_t num_chunks, TokenRows<kTokens> x,
                       float* sums) {
    constexpr int kBlock = block_format(Format::kFormat).block;
    constexpr int64_t kCodeBytes = chunk_code_bytes(Format::kFormat);
    constexpr int64_t kChunkBytes = chunk_bytes(Format::kFormat);
    const Decoder decoder;
    __m512 total[kTokens][kHalves];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kHalves; ++v) {
        total[t][v] = _mm512_load_ps(sums + t * kPanelRows + v * kLanes);
      }
    }
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
      prefetch<kChunkBytes, 1>(panel, 0);
#pragma GCC unroll 4
      for (int block = 0; block < kChunkK / kBlock; ++block) {
        __m512i sum[kTokens][kHalves];
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          sum[t][0] = sum[t][1] = broadcast_offset<kBlock>(x.row[t], block);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kBlock / 8; ++i) {
          const int group = block * (kBlock / 8) + i;
          const __m512i low = _mm512_load_si512(panel + (group * kHalves) * 64);
          const __m512i high = _mm512_load_si512(panel + (group * kHalves + 1) * 64);
#pragma GCC unroll 2
          for (int half = 0; half < 2; ++half) {
            const __m512i low_weights = decoder.weights(low, half);
            const __m512i high_weights = decoder.weights(high, half);
#pragma GCC unroll 8
            for (int t = 0; t < kTokens; ++t) {
              const __m512i quad = broadcast_quad(x.row[t], group * 2 + half);
              sum[t][0] = _mm512_dpbusd_epi32(sum[t][0], low_weights, quad);
              sum[t][1] = _mm512_dpbusd_epi32(sum[t][1], high_weights, quad);
            }
          }
        }
        const uint8_t* scales = panel + kCodeBytes + block * kPanelRows;
        const __m512 low_scales = Format::scales(scales);
        const __m512 high_scales = Format::scales(scales + kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const __m512 scale = broadcast_scale(x.row[t], block * kBlock / kInt8Block);
          total[t][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][0]),
                                        _mm512_mul_ps(low_scales, scale), total[t][0]);
          total[t][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][1]),
                                        _mm512_mul_ps(high_scales, scale), total[t][1]);
        }
      }
      panel += kChunkBytes;
      if constexpr (kTokens == 1) panel = known_after(total[0][0], panel);
      x.advance(chunk_token_bytes(kLayout));
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kHalves; ++v) {
        _mm512_store_ps(sums + t * kPanelRows + v * kLanes, total[t][v]);
      }
    }
  }
};

}  // namespace

const Kernels kAvx512VnniKernels = {
    InstructionSet::kAvx512Vnni,
    {},
    {ActivationLayout::kInt8, {nullptr, multiply<Int8Tile, Nvfp4>, multiply<Int8Tile, Mxfp4>}},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

}  // namespace moe4j
