// The loops that the AVX-512 instruction sets share: multiply() walks through a panel slab by slab,
// and each set includes this with a `Tile` that multiplies a slab with a tile of tokens:
//
//   kLayout                                    of activations
//   unit<Format>()                             what all sums are multiplied by at the end
//   most_in_one_pass<Format>()                 the most tokens that need no slabs, alone
//   multiply<Format, kTokens>(panel, num_chunks, rows, sums)
//
// ExactTile is the one for F32 and BF16 activations. It is given a `Dot` that says how they are
// read and multiplied:
//
//   kLayout                                    of activations
//   kSteps                                     multiplications for 16 rows of 8 K
//   indices(codes, step), weights(indices)     their weights, from 64 bytes of codes
//   add(sum, weights, elements, group, step)   sum + weights * a token's elements of that step
//   kBf16Steps, bf16_weights(), add_bf16()     the same for BF16 weights, of 16 rows of a pair of K
//
// Codes are multiplied as they are; each block's sum is multiplied by its 16 rows' scales. So a
// weight costs a shift and a table look-up, cheap enough to be repeated for every tile of tokens:
// what stays in the cache for all of them is the packed codes, an eighth of what decoded F32 would
// need.
//
// Everything is in an unnamed namespace: see kernels.hpp.
#pragma once

#include <immintrin.h>

#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"
#include "cpu/token_rows.hpp"

namespace moe4j {
namespace {

constexpr int kLanes = 16;  // rows of one vector
constexpr int kHalves = kPanelRows / kLanes;
/** The most tokens that take both halves of a panel in one pass. */
constexpr int kWideTokens = 2;
/** Chunks of K that stay in the L1 cache, elements of a tile of tokens included. */
constexpr int64_t kSlabChunks = 8;

/** The values of E2M1's 16 codes: a table for kernels that multiply F32. */
alignas(64) constexpr float kE2m1AsF32[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,
                                              4.0f,  6.0f,  -0.0f, -0.5f, -1.0f, -1.5f,
                                              -2.0f, -3.0f, -4.0f, -6.0f};

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

/** Asks for every kStep-th line of the chunk that lies kPrefetchChunks ahead. The two passes over
 * the halves of a panel need that: each skips lines, which the processor's own prefetching follows
 * badly. One pass over all lines needs it too: a few tokens are multiplied as fast as memory can be
 * read. */
template <int64_t kChunkBytes, int kStep>
void prefetch(const uint8_t* chunk, int first) {
  const uint8_t* ahead = chunk + kPrefetchChunks * kChunkBytes;
#pragma GCC unroll 32
  for (int64_t line = first * 64; line < kChunkBytes; line += kStep * 64) {
    _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T1);
  }
}

/**
 * The same pointer, known to the processor only once `sums` are. What one token loads through it
 * waits for sums of the chunk before: a kernel that is faster than memory otherwise runs so far
 * ahead that its loads take the places of the lines that it asks for. (AMX has no use for it.)
 */
[[maybe_unused]] const uint8_t* known_after(__m512 sums, const uint8_t* pointer) {
  auto zero =
      static_cast<uint32_t>(_mm_cvtsi128_si32(_mm512_castsi512_si128(_mm512_castps_si512(sums))));
  asm("andl $0, %0" : "+r"(zero) : : "cc");
  return pointer + zero;
}

/**
 * Adds to the sums of one tile of kTokens tokens what some chunks of kVectors * 16 rows of a panel
 * make, from row 16 * half on. Several partial sums a block (kSplit) keep the multipliers busy.
 */
template <class Dot, class Format, int kTokens, int kVectors>
void multiply_rows(const uint8_t* panel, int64_t num_chunks, TokenRows<kTokens> x, int half,
                   float* sums) {
  constexpr int kSplit = 2;
  constexpr int kBlock = block_format(Format::kFormat).block;
  constexpr int kBlocks = kChunkK / kBlock;
  constexpr int64_t kCodeBytes = chunk_code_bytes(Format::kFormat);
  constexpr int64_t kChunkBytes = chunk_bytes(Format::kFormat);
  const Dot dot;

  __m512 total[kVectors][kTokens];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      total[v][t] = _mm512_load_ps(sums + t * kPanelRows + (half + v) * kLanes);
    }
  }
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
    if constexpr (kVectors == 1) {
      prefetch<kChunkBytes, kHalves>(panel, half);
    } else {
      prefetch<kChunkBytes, 1>(panel, 0);
    }
    const uint8_t* next = panel + kChunkBytes;
#pragma GCC unroll 4
    for (int block = 0; block < kBlocks; ++block) {
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
          const __m512i codes = _mm512_load_si512(panel + (group * kHalves + half + v) * 64);
          // All indices first: GCC 12 then shifts straight from memory, and one token is slowed
          // down less by lines that are late.
          __m512i indices[Dot::kSteps];
#pragma GCC unroll 8
          for (int step = 0; step < Dot::kSteps; ++step) indices[step] = Dot::indices(codes, step);
#pragma GCC unroll 8
          for (int step = 0; step < Dot::kSteps; ++step) {
            const auto weights = dot.weights(indices[step]);
#pragma GCC unroll 8
            for (int t = 0; t < kTokens; ++t) {
              sum[v][t][step % kSplit] =
                  Dot::add(sum[v][t][step % kSplit], weights, x.row[t], group, step);
            }
          }
        }
      }
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const __m512 scales =
            Format::scales(panel + kCodeBytes + block * kPanelRows + (half + v) * kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const __m512 block_sum = _mm512_add_ps(sum[v][t][0], sum[v][t][1]);
          total[v][t] = _mm512_fmadd_ps(block_sum, scales, total[v][t]);
        }
      }
      // The other half of the chunk hides that the next one waits.
      if (kTokens == 1 && block == kBlocks / 2 - 1) next = known_after(total[0][0], next);
    }
    panel = next;
    x.advance(chunk_token_bytes(Dot::kLayout));
  }
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      _mm512_store_ps(sums + t * kPanelRows + (half + v) * kLanes, total[v][t]);
    }
  }
}

/** The same for BF16 weights, which have no scales. */
template <class Dot, int kTokens>
void multiply_bf16_rows(const uint8_t* panel, int64_t num_chunks, TokenRows<kTokens> x, int half,
                        float* sums) {
  __m512 sum[kTokens][2];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    sum[t][0] = _mm512_load_ps(sums + t * kPanelRows + half * kLanes);
    sum[t][1] = _mm512_setzero_ps();
  }
  for (int64_t pair = 0; pair < num_chunks * (kChunkK / 2); ++pair) {
    const __m512i codes = _mm512_load_si512(panel + (pair * kHalves + half) * 64);
#pragma GCC unroll 2
    for (int step = 0; step < Dot::kBf16Steps; ++step) {
      const auto weights = Dot::bf16_weights(codes, step);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        sum[t][step] = Dot::add_bf16(sum[t][step], weights, x.row[t], step);
      }
    }
    x.advance(chunk_token_bytes(Dot::kLayout) / (kChunkK / 2));
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    _mm512_store_ps(sums + t * kPanelRows + half * kLanes, _mm512_add_ps(sum[t][0], sum[t][1]));
  }
}

struct Bf16Weights {
  static constexpr int32_t kFormat = MOE4J_FORMAT_BF16;
  static constexpr float kUnit = 1.0f;
};

template <class Dot>
struct ExactTile {
  static constexpr ActivationLayout kLayout = Dot::kLayout;

  template <class Format>
  static constexpr float unit() {
    return Format::kUnit;
  }

  /** The most tokens for which every line of a panel is read in its turn. */
  template <class Format>
  static constexpr int most_in_one_pass() {
    return Format::kFormat == MOE4J_FORMAT_BF16 ? 0 : kWideTokens;
  }

  template <class Format, int kTokens>
  static void multiply(const uint8_t* panel, int64_t num_chunks, const TokenRows<kTokens>& x,
                       float* sums) {
    if constexpr (Format::kFormat == MOE4J_FORMAT_BF16) {
      for (int half = 0; half < kHalves; ++half) {
        multiply_bf16_rows<Dot, kTokens>(panel, num_chunks, x, half, sums);
      }
    } else if constexpr (kTokens <= kWideTokens) {
      multiply_rows<Dot, Format, kTokens, 2>(panel, num_chunks, x, 0, sums);
    } else {
      for (int half = 0; half < kHalves; ++half) {
        multiply_rows<Dot, Format, kTokens, 1>(panel, num_chunks, x, half, sums);
      }
    }
  }
};

/** A slab's products with a tile, added to its sums. */
template <class Tile, class Format, int kTokens>
void multiply_slab(const uint8_t* panel, int64_t first, int64_t num_chunks, const void* const* rows,
                   float* sums) {
  Tile::template multiply<Format, kTokens>(
      panel + first * chunk_bytes(Format::kFormat), num_chunks,
      TokenRows<kTokens>(rows, first * chunk_token_bytes(Tile::kLayout)), sums);
}

using MultiplySlab = void (*)(const uint8_t*, int64_t, int64_t, const void* const*, float*);

template <class Tile, class Format>
constexpr MultiplySlab kByTokens[8] = {
    multiply_slab<Tile, Format, 1>, multiply_slab<Tile, Format, 2>, multiply_slab<Tile, Format, 3>,
    multiply_slab<Tile, Format, 4>, multiply_slab<Tile, Format, 5>, multiply_slab<Tile, Format, 6>,
    multiply_slab<Tile, Format, 7>, multiply_slab<Tile, Format, 8>};

/** Slab by slab of K, so that a slab's codes come once from memory, in the order in which they lie
 *  there, and then from the L1 cache for both halves of the panel and for all tiles. */
template <class Tile, class Format>
void multiply(const PanelProduct& product) {
  constexpr float kUnit = Tile::template unit<Format>();
  int64_t tokens = 0;
  for (int32_t i = 0; i < product.num_tiles; ++i) tokens += product.tiles[i].tokens;
  const int64_t vectors = tokens * kHalves;
  for (int64_t i = 0; i < vectors; ++i) {
    _mm512_store_ps(product.sums + i * kLanes, _mm512_setzero_ps());
  }
  const bool one_pass = product.num_tiles == 1 &&
                        product.tiles[0].tokens <= Tile::template most_in_one_pass<Format>();
  const int64_t step = one_pass ? product.chunks : kSlabChunks;
  for (int64_t first = 0; first < product.chunks; first += step) {
    const int64_t rest = product.chunks - first;
    const int64_t num_chunks = rest < step ? rest : step;
    float* sums = product.sums;
    for (int32_t i = 0; i < product.num_tiles; ++i) {
      const TokenTile& tile = product.tiles[i];
      kByTokens<Tile, Format>[tile.tokens - 1](product.panel, first, num_chunks, tile.rows, sums);
      sums += tile.tokens * kPanelRows;
    }
  }
  if constexpr (kUnit != 1) {
    const __m512 unit = _mm512_set1_ps(kUnit);
    for (int64_t i = 0; i < vectors; ++i) {
      float* vector = product.sums + i * kLanes;
      _mm512_store_ps(vector, _mm512_mul_ps(_mm512_load_ps(vector), unit));
    }
  }
}

}  // namespace
}  // namespace moe4j
