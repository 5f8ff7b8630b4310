// Kernels for AVX2 with FMA and F16C: activations in F32, and in INT8.
//
// Eight rows at a time. A byte shuffle turns nibbles into the two bytes of their BF16 values;
// zipped together and shifted they become F32 vectors whose lanes are (row, even K), (row, odd K),
// four rows a vector. A broadcast of 64 bits brings the token's two elements, and adding
// neighbouring lanes at the end makes sums of rows. Few tokens are multiplied straight from the
// decoded registers; for more, a piece of the panel is decoded once into the L1 cache, block scales
// included (the products are exact in F32).
//
// INT8: the first factor of a product has no sign, it is twice the weight plus kInt8WeightOffset. A
// block's sum begins with the offset that takes this back and is an exact integer.
#include <immintrin.h>

#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"
#include "cpu/swiglu.hpp"
#include "cpu/token_rows.hpp"

namespace moe4j {
namespace {

constexpr int kRows = 8;  // of one pass
constexpr int kPasses = kPanelRows / kRows;
constexpr int kGroups = kChunkK / 8;
constexpr int kPairs = kChunkK / 2;
constexpr int kDirectTokens = 4;
constexpr int kStagedTokens = 6;  // 12 sums in registers
constexpr int64_t kSlabChunks = 8;

/** Chunks [first, first + count) of a panel. */
struct Slice {
  int64_t first;
  int64_t count;
};

struct Nvfp4 {
  static constexpr int32_t kFormat = MOE4J_FORMAT_NVFP4;
  /** E4M3 shifted into an F16 is 2^-8 of its value, subnormals included. */
  static __m256 scales(const uint8_t* bytes) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(codes), 7)),
                         _mm256_set1_ps(256.0f));
  }
};

struct Mxfp4 {
  static constexpr int32_t kFormat = MOE4J_FORMAT_MXFP4;
  static __m256 scales(const uint8_t* bytes) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
    const __m256i exponents = _mm256_slli_epi32(_mm256_cvtepu8_epi32(codes), 23);
    const __m256i smallest = _mm256_set1_epi32(0x00400000);  // 2^-127, a subnormal
    return _mm256_castsi256_ps(_mm256_max_epu32(exponents, smallest));
  }
};

/** The weights of 8 rows and 8 K, block scales not applied. */
struct Decoder {
  const __m256i upper_bytes = _mm256_setr_epi8(
      0, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40, static_cast<char>(0x80), static_cast<char>(0xBF),
      static_cast<char>(0xBF), static_cast<char>(0xBF), static_cast<char>(0xC0),
      static_cast<char>(0xC0), static_cast<char>(0xC0), static_cast<char>(0xC0), 0, 0x3F, 0x3F,
      0x3F, 0x40, 0x40, 0x40, 0x40, static_cast<char>(0x80), static_cast<char>(0xBF),
      static_cast<char>(0xBF), static_cast<char>(0xBF), static_cast<char>(0xC0),
      static_cast<char>(0xC0), static_cast<char>(0xC0), static_cast<char>(0xC0));
  const __m256i lower_bytes = _mm256_setr_epi8(
      0, 0, static_cast<char>(0x80), static_cast<char>(0xC0), 0, 0x40, static_cast<char>(0x80),
      static_cast<char>(0xC0), 0, 0, static_cast<char>(0x80), static_cast<char>(0xC0), 0, 0x40,
      static_cast<char>(0x80), static_cast<char>(0xC0), 0, 0, static_cast<char>(0x80),
      static_cast<char>(0xC0), 0, 0x40, static_cast<char>(0x80), static_cast<char>(0xC0), 0, 0,
      static_cast<char>(0x80), static_cast<char>(0xC0), 0, 0x40, static_cast<char>(0x80),
      static_cast<char>(0xC0));

  /** Calls use(pair of K, its weights for rows 0 1 4 5, its weights for rows 2 3 6 7). */
  template <class Use>
  __attribute__((always_inline)) void decode(const uint8_t* codes, const Use& use) const {
    const __m256i raw = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes));
    const __m256i low_nibble = _mm256_set1_epi8(0x0F);
    const __m256i upper_half = _mm256_set1_epi32(-0x10000);
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part) {  // K 0 4 1 5 of each row, then K 2 6 3 7
      const __m256i nibbles =
          _mm256_and_si256(part == 0 ? raw : _mm256_srli_epi16(raw, 4), low_nibble);
      const __m256i upper = _mm256_shuffle_epi8(upper_bytes, nibbles);
      const __m256i lower = _mm256_shuffle_epi8(lower_bytes, nibbles);
      const __m256i first = _mm256_unpacklo_epi8(lower, upper);   // rows 0 1 | 4 5
      const __m256i second = _mm256_unpackhi_epi8(lower, upper);  // rows 2 3 | 6 7
      use(part, _mm256_castsi256_ps(_mm256_slli_epi32(first, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(second, 16)));
      use(part + 2, _mm256_castsi256_ps(_mm256_and_si256(first, upper_half)),
          _mm256_castsi256_ps(_mm256_and_si256(second, upper_half)));
    }
  }
};

/** Asks for this pass' share of the chunk that lies kPrefetchChunks ahead. */
template <int64_t kChunkBytes>
void prefetch(const uint8_t* chunk, int pass) {
  const uint8_t* ahead = chunk + kPrefetchChunks * kChunkBytes;
#pragma GCC unroll 8
  for (int64_t line = pass * 64; line < kChunkBytes; line += kPasses * 64) {
    _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T1);
  }
}

/** A token's two elements of a pair of K, in all four places. */
__m256 broadcast_pair(const uint8_t* elements) {
  return _mm256_castpd_ps(_mm256_broadcast_sd(reinterpret_cast<const double*>(elements)));
}

constexpr int64_t kPairBytes = 2 * sizeof(float);

/** Few tokens, all in one tile: each block's sums of 8 rows stay in registers. For a single one,
 *  every other pair of K has sums of its own, so that additions need not wait for each other. */
template <class Format, int kTokens>
void multiply_direct(const PanelProduct& product, const Slice& slice, int pass) {
  constexpr int kSplit = kTokens == 1 ? 2 : 1;
  constexpr int kBlock = block_format(Format::kFormat).block;
  constexpr int64_t kCodeBytes = chunk_code_bytes(Format::kFormat);
  constexpr int64_t kChunkBytes = chunk_bytes(Format::kFormat);
  const Decoder decoder;
  const uint8_t* chunk = product.panel + slice.first * kChunkBytes;
  TokenRows<kTokens> x(product.tiles[0].rows, slice.first * kPairs * kPairBytes);
  float* const sums = product.sums + pass * kRows;
  __m256 total[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) total[t] = _mm256_load_ps(sums + t * kPanelRows);
  for (int64_t i = 0; i < slice.count; ++i) {
    prefetch<kChunkBytes>(chunk, pass);
#pragma GCC unroll 1
    for (int block = 0; block < kChunkK / kBlock; ++block) {
      __m256 sum[kTokens][2][kSplit];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int s = 0; s < kSplit; ++s) sum[t][0][s] = sum[t][1][s] = _mm256_setzero_ps();
      }
#pragma GCC unroll 4
      for (int j = 0; j < kBlock / 8; ++j) {
        const int group = block * (kBlock / 8) + j;
        const auto use = [&](int pair, __m256 first, __m256 second) {
          const int s = pair % kSplit;
#pragma GCC unroll 4
          for (int t = 0; t < kTokens; ++t) {
            const __m256 element = broadcast_pair(x.row[t] + (group * 4 + pair) * kPairBytes);
            sum[t][0][s] = _mm256_fmadd_ps(first, element, sum[t][0][s]);
            sum[t][1][s] = _mm256_fmadd_ps(second, element, sum[t][1][s]);
          }
        };
        decoder.decode(chunk + (group * kPasses + pass) * 32, use);
      }
      const __m256 scales = Format::scales(chunk + kCodeBytes + block * kPanelRows + pass * kRows);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        if constexpr (kSplit == 2) {
          sum[t][0][0] = _mm256_add_ps(sum[t][0][0], sum[t][0][1]);
          sum[t][1][0] = _mm256_add_ps(sum[t][1][0], sum[t][1][1]);
        }
        total[t] = _mm256_fmadd_ps(_mm256_hadd_ps(sum[t][0][0], sum[t][1][0]), scales, total[t]);
      }
    }
    chunk += kChunkBytes;
    x.advance(kPairs * kPairBytes);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    _mm256_store_ps(sums + t * kPanelRows, total[t]);
  }
}

/** Some chunks' weights of 8 rows, block scales applied: [pair of K][2 vectors][8]. */
struct alignas(64) Slab {
  float weights[kSlabChunks * kPairs * 16];
};

template <class Format>
void decode_slab(const uint8_t* chunk, int64_t num_chunks, int pass, Slab* slab) {
  constexpr int kBlock = block_format(Format::kFormat).block;
  const Decoder decoder;
  float* weights = slab->weights;
  for (int64_t i = 0; i < num_chunks; ++i) {
    prefetch<chunk_bytes(Format::kFormat)>(chunk, pass);
    for (int block = 0; block < kChunkK / kBlock; ++block) {
      const __m256 scales = Format::scales(chunk + chunk_code_bytes(Format::kFormat) +
                                           block * kPanelRows + pass * kRows);
      const __m256 first_scales = _mm256_unpacklo_ps(scales, scales);
      const __m256 second_scales = _mm256_unpackhi_ps(scales, scales);
#pragma GCC unroll 4
      for (int j = 0; j < kBlock / 8; ++j) {
        const int group = block * (kBlock / 8) + j;
        const auto store = [&](int pair, __m256 first, __m256 second) {
          float* destination = weights + (group * 4 + pair) * 16;
          _mm256_store_ps(destination, _mm256_mul_ps(first, first_scales));
          _mm256_store_ps(destination + 8, _mm256_mul_ps(second, second_scales));
        };
        decoder.decode(chunk + (group * kPasses + pass) * 32, store);
      }
    }
    chunk += chunk_bytes(Format::kFormat);
    weights += kPairs * 16;
  }
}

/** Adds a slab's products with one tile to its pair sums [tokens][2 vectors][8]. */
template <int kTokens>
void multiply_slab(const Slab& slab, const Slice& slice, const void* const* rows,
                   float* pair_sums) {
  TokenRows<kTokens> x(rows, slice.first * kPairs * kPairBytes);
  __m256 sum[kTokens][2];
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    sum[t][0] = _mm256_load_ps(pair_sums + t * 16);
    sum[t][1] = _mm256_load_ps(pair_sums + t * 16 + 8);
  }
  const float* weights = slab.weights;
  for (int64_t pair = 0; pair < slice.count * kPairs; ++pair) {
    const __m256 first = _mm256_load_ps(weights);
    const __m256 second = _mm256_load_ps(weights + 8);
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const __m256 element = broadcast_pair(x.row[t]);
      sum[t][0] = _mm256_fmadd_ps(first, element, sum[t][0]);
      sum[t][1] = _mm256_fmadd_ps(second, element, sum[t][1]);
    }
    weights += 16;
    x.advance(kPairBytes);
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    _mm256_store_ps(pair_sums + t * 16, sum[t][0]);
    _mm256_store_ps(pair_sums + t * 16 + 8, sum[t][1]);
  }
}

using MultiplySlab = void (*)(const Slab&, const Slice&, const void* const*, float*);
constexpr MultiplySlab kMultiplySlab[kStagedTokens] = {multiply_slab<1>, multiply_slab<2>,
                                                       multiply_slab<3>, multiply_slab<4>,
                                                       multiply_slab<5>, multiply_slab<6>};

/** The pair sums of one pass of eight rows, for all tokens of a group. */
struct alignas(64) PairSums {
  float values[kMaxGroupTokens * 16];
};

template <class Format>
void multiply_staged(const PanelProduct& product, const Slice& slice, int pass,
                     PairSums* pair_sums) {
  Slab slab;
  decode_slab<Format>(product.panel + slice.first * chunk_bytes(Format::kFormat), slice.count, pass,
                      &slab);
  float* tile_sums = pair_sums->values;
  for (int32_t i = 0; i < product.num_tiles; ++i) {
    const TokenTile& tile = product.tiles[i];
    kMultiplySlab[tile.tokens - 1](slab, slice, tile.rows, tile_sums);
    tile_sums += tile.tokens * 16;
  }
}

/** Calls use(slice, pass) for all of a panel. */
template <class Use>
void for_each_slice(int64_t num_chunks, const Use& use) {
  for (int64_t first = 0; first < num_chunks; first += kSlabChunks) {
    const int64_t rest = num_chunks - first;
    const Slice slice = {first, rest < kSlabChunks ? rest : kSlabChunks};
    for (int pass = 0; pass < kPasses; ++pass) use(slice, pass);
  }
}

template <class Format>
void multiply(const PanelProduct& product) {
  int64_t tokens = 0;
  for (int32_t i = 0; i < product.num_tiles; ++i) tokens += product.tiles[i].tokens;
  if (product.num_tiles == 1 && tokens <= kDirectTokens) {
    using Multiply = void (*)(const PanelProduct&, const Slice&, int);
    static constexpr Multiply kByTokens[kDirectTokens] = {
        multiply_direct<Format, 1>, multiply_direct<Format, 2>, multiply_direct<Format, 3>,
        multiply_direct<Format, 4>};
    for (int64_t i = 0; i < tokens * kPanelRows; ++i) product.sums[i] = 0;
    for_each_slice(product.chunks, [&](const Slice& slice, int pass) {
      kByTokens[tokens - 1](product, slice, pass);
    });
    return;
  }
  PairSums pair_sums[kPasses];
  for (PairSums& sums : pair_sums) {
    for (int64_t i = 0; i < tokens * 16; ++i) sums.values[i] = 0;
  }
  for_each_slice(product.chunks, [&](const Slice& slice, int pass) {
    multiply_staged<Format>(product, slice, pass, &pair_sums[pass]);
  });
  for (int pass = 0; pass < kPasses; ++pass) {
    for (int64_t t = 0; t < tokens; ++t) {
      const float* sums = pair_sums[pass].values + t * 16;
      _mm256_store_ps(product.sums + t * kPanelRows + pass * kRows,
                      _mm256_hadd_ps(_mm256_load_ps(sums), _mm256_load_ps(sums + 8)));
    }
  }
}

/** BF16 weights: a shift or a mask makes F32 vectors of 8 rows. */
template <int kTokens>
void multiply_bf16_tile(const PanelProduct& product, const void* const* rows, int pass,
                        float* sums) {
  TokenRows<kTokens> x(rows, 0);
  const __m256i upper_half = _mm256_set1_epi32(-0x10000);
  __m256 sum[kTokens][2];
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_ps();
  for (int64_t pair = 0; pair < product.chunks * kPairs; ++pair) {
    const __m256i codes = _mm256_load_si256(
        reinterpret_cast<const __m256i*>(product.panel + (pair * kPasses + pass) * 32));
    const __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 16));
    const __m256 odd = _mm256_castsi256_ps(_mm256_and_si256(codes, upper_half));
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const auto* elements = reinterpret_cast<const float*>(x.row[t]);
      sum[t][0] = _mm256_fmadd_ps(even, _mm256_broadcast_ss(elements), sum[t][0]);
      sum[t][1] = _mm256_fmadd_ps(odd, _mm256_broadcast_ss(elements + 1), sum[t][1]);
    }
    x.advance(kPairBytes);
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) {
    _mm256_store_ps(sums + t * kPanelRows + pass * kRows, _mm256_add_ps(sum[t][0], sum[t][1]));
  }
}

void multiply_bf16(const PanelProduct& product) {
  using MultiplyTile = void (*)(const PanelProduct&, const void* const*, int, float*);
  static constexpr MultiplyTile kByTokens[kStagedTokens] = {
      multiply_bf16_tile<1>, multiply_bf16_tile<2>, multiply_bf16_tile<3>,
      multiply_bf16_tile<4>, multiply_bf16_tile<5>, multiply_bf16_tile<6>};
  float* sums = product.sums;
  for (int32_t i = 0; i < product.num_tiles; ++i) {
    const TokenTile& tile = product.tiles[i];
    for (int pass = 0; pass < kPasses; ++pass) {
      kByTokens[tile.tokens - 1](product, tile.rows, pass, sums);
    }
    sums += tile.tokens * kPanelRows;
  }
}

/** 2 * E2M1 + kInt8WeightOffset, twice: a shuffle looks within 16 bytes. */
alignas(32) constexpr uint8_t kOffsetWeights[32] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10,
                                                    9,  8,  6,  4,  0,  12, 13, 14, 15, 16, 18,
                                                    20, 24, 12, 11, 10, 9,  8,  6,  4,  0};

template <class T>
T load(const uint8_t* bytes) {
  T value;
  __builtin_memcpy(&value, bytes, sizeof(value));
  return value;
}

/** Chunks of one pass of 8 rows with a tile of INT8 tokens, added to its sums. */
template <class Format, int kTokens>
void multiply_int8_rows(const PanelProduct& product, const Slice& slice, int pass,
                        const void* const* rows, float* sums) {
  constexpr int kBlock = block_format(Format::kFormat).block;
  constexpr int64_t kOffsets =
      kBlock == kInt8Block ? offsetof(Int8Chunk, offsets) : offsetof(Int8Chunk, half_offsets);
  const uint8_t* chunk = product.panel + slice.first * chunk_bytes(Format::kFormat);
  TokenRows<kTokens> x(rows, slice.first * static_cast<int64_t>(sizeof(Int8Chunk)));
  const __m256i table = _mm256_load_si256(reinterpret_cast<const __m256i*>(kOffsetWeights));
  const __m256i low_nibble = _mm256_set1_epi8(0x0F);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256 total[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) total[t] = _mm256_load_ps(sums + t * kPanelRows);
  for (int64_t i = 0; i < slice.count; ++i) {
    prefetch<chunk_bytes(Format::kFormat)>(chunk, pass);
#pragma GCC unroll 1
    for (int block = 0; block < kChunkK / kBlock; ++block) {
      __m256i sum[kTokens];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
        sum[t] = _mm256_set1_epi32(load<int32_t>(x.row[t] + kOffsets + block * 4));
#pragma GCC unroll 2
      for (int part = 0; part < kBlock / 16; ++part) {
        __m256i pairs[kTokens];  // 16-bit sums of 4 * 2 products, at most 24 * 127 each
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          const int group = block * (kBlock / 8) + part * 2 + j;
          const __m256i raw = _mm256_load_si256(
              reinterpret_cast<const __m256i*>(chunk + (group * kPasses + pass) * 32));
#pragma GCC unroll 2
          for (int half = 0; half < 2; ++half) {
            const __m256i weights = _mm256_shuffle_epi8(
                table, _mm256_and_si256(half == 0 ? raw : _mm256_srli_epi16(raw, 4), low_nibble));
#pragma GCC unroll 4
            for (int t = 0; t < kTokens; ++t) {
              const __m256i products = _mm256_maddubs_epi16(
                  weights, _mm256_set1_epi32(load<int32_t>(x.row[t] + (group * 2 + half) * 4)));
              pairs[t] = j == 0 && half == 0 ? products : _mm256_add_epi16(pairs[t], products);
            }
          }
        }
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(pairs[t], ones));
        }
      }
      const __m256 weight_scales = Format::scales(chunk + chunk_code_bytes(Format::kFormat) +
                                                  block * kPanelRows + pass * kRows);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256 scale = _mm256_set1_ps(
            load<float>(x.row[t] + offsetof(Int8Chunk, scales) + block * kBlock / kInt8Block * 4));
        total[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t]), _mm256_mul_ps(weight_scales, scale),
                                   total[t]);
      }
    }
    chunk += chunk_bytes(Format::kFormat);
    x.advance(sizeof(Int8Chunk));
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) _mm256_store_ps(sums + t * kPanelRows, total[t]);
}

constexpr int kInt8Tokens = 4;

template <class Format>
void multiply_int8(const PanelProduct& product) {
  using MultiplyRows = void (*)(const PanelProduct&, const Slice&, int, const void* const*, float*);
  static constexpr MultiplyRows kByTokens[kInt8Tokens] = {
      multiply_int8_rows<Format, 1>, multiply_int8_rows<Format, 2>, multiply_int8_rows<Format, 3>,
      multiply_int8_rows<Format, 4>};
  int64_t tokens = 0;
  for (int32_t i = 0; i < product.num_tiles; ++i) tokens += product.tiles[i].tokens;
  for (int64_t i = 0; i < tokens * kPanelRows; ++i) product.sums[i] = 0;
  for_each_slice(product.chunks, [&](const Slice& slice, int pass) {
    float* sums = product.sums + pass * kRows;
    for (int32_t i = 0; i < product.num_tiles; ++i) {
      const TokenTile& tile = product.tiles[i];
      kByTokens[tile.tokens - 1](product, slice, pass, tile.rows, sums);
      sums += tile.tokens * kPanelRows;
    }
  });
  for (int64_t i = 0; i < tokens * kPanelRows; ++i) product.sums[i] *= 0.5f;  // weights are doubled
}

}  // namespace

const Kernels kAvx2Kernels = {
    InstructionSet::kAvx2,
    {ActivationLayout::kF32, {multiply_bf16, multiply<Nvfp4>, multiply<Mxfp4>}},
    {ActivationLayout::kInt8, {nullptr, multiply_int8<Nvfp4>, multiply_int8<Mxfp4>}},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

}  // namespace moe4j
