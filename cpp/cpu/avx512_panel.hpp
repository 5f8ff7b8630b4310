// The loops that the two AVX-512 instruction sets share. Each includes this with a `Dot` of its own
// that says how activations are read and multiplied:
//
//   static constexpr int kSteps                          multiplications for 16 rows of 8 K
//   static __m512i/__m512 weights(raw, step)             their weights, from 64 bytes of codes
//   static __m512 add(sum, weights, elements)            sum + weights * the element of each lane
//   static const void* element(tile, group, step, ...)   the element that goes with them
//
// Codes are multiplied as they are; each block's sum is multiplied by its 16 rows' scales. So a
// weight costs a shift and a table look-up, cheap enough to be repeated for every tile of tokens
// from packed codes in the cache.
//
// Everything is in an unnamed namespace: see kernels.hpp.
#pragma once

#include <immintrin.h>

#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"

namespace moe4j {
namespace {

constexpr int kLanes = 16;  // rows of one vector
constexpr int kHalves = kPanelRows / kLanes;
constexpr int kGroups = kChunkK / 8;

struct Nvfp4 {
  static constexpr int32_t kFormat = MOE4J_FORMAT_NVFP4;
  // E4M3 shifted into an F16 is 2^-8 of its value, subnormals included.
  static constexpr float kUnit = 256.0f;
  static __m512 scales(const uint8_t* bytes) {
    const __m128i codes = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
    return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(codes), 7));
  }
};

struct Mxfp4 {
  static constexpr int32_t kFormat = MOE4J_FORMAT_MXFP4;
  static constexpr float kUnit = 1.0f;
  static __m512 scales(const uint8_t* bytes) {
    const __m128i codes = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
    const __m512i exponents = _mm512_slli_epi32(_mm512_cvtepu8_epi32(codes), 23);
    const __m512i smallest = _mm512_set1_epi32(0x00400000);  // 2^-127, a subnormal
    return _mm512_castsi512_ps(_mm512_max_epu32(exponents, smallest));
  }
};

/**
 * One tile of kTokens tokens with kVectors * 16 rows of a panel, from row 16 * half on. Several
 * partial sums a block (kSplit) keep the multipliers busy where there are few tokens.
 */
template <class Dot, class Format, int kTokens, int kVectors, int kSplit>
void multiply_rows(const uint8_t* panel, int64_t num_chunks, const uint8_t* elements, int half,
                   float* sums) {
  constexpr int kBlock = block_format(Format::kFormat).block;
  constexpr int64_t kCodeBytes = chunk_code_bytes(Format::kFormat);
  constexpr int64_t kChunkBytes = chunk_bytes(Format::kFormat);
  const Dot dot;

  __m512 total[kVectors][kTokens];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) total[v][t] = _mm512_setzero_ps();
  }
  panel += half * 64;
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
#pragma GCC unroll 4
    for (int block = 0; block < kChunkK / kBlock; ++block) {
      __m512 sum[kVectors][kTokens][kSplit];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
          for (int s = 0; s < kSplit; ++s) sum[v][t][s] = _mm512_setzero_ps();
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kBlock / 8; ++i) {
        const int group = block * (kBlock / 8) + i;
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          const __m512i codes = _mm512_load_si512(panel + (group * kHalves + v) * 64);
#pragma GCC unroll 8
          for (int step = 0; step < Dot::kSteps; ++step) {
            const auto weights = dot.weights(codes, step);
#pragma GCC unroll 8
            for (int t = 0; t < kTokens; ++t) {
              sum[v][t][step % kSplit] = Dot::template add<kTokens>(
                  sum[v][t][step % kSplit], weights, elements, group, step, t);
            }
          }
        }
      }
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const __m512 scales = Format::scales(panel - half * 64 + kCodeBytes + block * kPanelRows +
                                             (half + v) * kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          __m512 block_sum = sum[v][t][0];
          if constexpr (kSplit == 2) block_sum = _mm512_add_ps(block_sum, sum[v][t][1]);
          total[v][t] = _mm512_fmadd_ps(block_sum, scales, total[v][t]);
        }
      }
    }
    panel += kChunkBytes;
    elements += kChunkK * kTokens * element_bytes(Dot::kElement);
  }
  const __m512 unit = _mm512_set1_ps(Format::kUnit);
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      _mm512_store_ps(sums + t * kPanelRows + (half + v) * kLanes,
                      _mm512_mul_ps(total[v][t], unit));
    }
  }
}

/** The same for BF16 weights, which have no scales. */
template <class Dot, int kTokens>
void multiply_bf16_rows(const uint8_t* panel, int64_t num_chunks, const uint8_t* elements, int half,
                        float* sums) {
  __m512 sum[kTokens][Dot::kBf16Steps];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int s = 0; s < Dot::kBf16Steps; ++s) sum[t][s] = _mm512_setzero_ps();
  }
  for (int64_t pair = 0; pair < num_chunks * (kChunkK / 2); ++pair) {
    const __m512i codes = _mm512_load_si512(panel + (pair * kHalves + half) * 64);
#pragma GCC unroll 2
    for (int step = 0; step < Dot::kBf16Steps; ++step) {
      const auto weights = Dot::bf16_weights(codes, step);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        sum[t][step] = Dot::template add_bf16<kTokens>(sum[t][step], weights, elements, step, t);
      }
    }
    elements += 2 * kTokens * element_bytes(Dot::kElement);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    __m512 total = sum[t][0];
    if constexpr (Dot::kBf16Steps == 2) total = _mm512_add_ps(total, sum[t][1]);
    _mm512_store_ps(sums + t * kPanelRows + half * kLanes, total);
  }
}

template <class Dot, class Format, int kTokens>
void multiply_tile(const uint8_t* panel, int64_t num_chunks, const void* elements, float* sums) {
  const auto* bytes = static_cast<const uint8_t*>(elements);
  if constexpr (Format::kFormat == MOE4J_FORMAT_BF16) {
    for (int half = 0; half < kHalves; ++half) {
      multiply_bf16_rows<Dot, kTokens>(panel, num_chunks, bytes, half, sums);
    }
  } else if constexpr (kTokens <= 2) {
    // Few tokens: memory is the limit, so read each line of the panel in its turn.
    multiply_rows<Dot, Format, kTokens, 2, 2>(panel, num_chunks, bytes, 0, sums);
  } else {
    for (int half = 0; half < kHalves; ++half) {
      multiply_rows<Dot, Format, kTokens, 1, 2>(panel, num_chunks, bytes, half, sums);
    }
  }
}

struct Bf16Weights {
  static constexpr int32_t kFormat = MOE4J_FORMAT_BF16;
};

template <class Dot, class Format>
void multiply(const PanelProduct& product) {
  using MultiplyTile = void (*)(const uint8_t*, int64_t, const void*, float*);
  static constexpr MultiplyTile kByTokens[kMaxTileTokens] = {
      multiply_tile<Dot, Format, 1>, multiply_tile<Dot, Format, 2>, multiply_tile<Dot, Format, 3>,
      multiply_tile<Dot, Format, 4>, multiply_tile<Dot, Format, 5>, multiply_tile<Dot, Format, 6>,
      multiply_tile<Dot, Format, 7>, multiply_tile<Dot, Format, 8>};
  float* sums = product.sums;
  for (int32_t i = 0; i < product.num_tiles; ++i) {
    const TokenTile& tile = product.tiles[i];
    kByTokens[tile.tokens - 1](product.panel, product.chunks, tile.elements, sums);
    sums += tile.tokens * kPanelRows;
  }
}

}  // namespace
}  // namespace moe4j
