// Kernels for AMX with BF16 tiles: 16 tokens by 16 weight rows by 32 K an instruction.
//
// A slab of a panel is decoded once into BF16, block scales included: the products e2m1 * scale
// have at most six significant bits, so they are exact. Then all tokens go through it, up to 32 at
// a time, and their sums stay in tile registers for the whole slab.
#include "cpu/amx_tiles.hpp"
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/swiglu.hpp"

namespace moe4j {
namespace {

constexpr int64_t kTokenBytes = chunk_token_bytes(ActivationLayout::kBf16);
constexpr int kSumsStride = kPanelRows * sizeof(float);
/** K of one instruction, and how many of them make a chunk. */
constexpr int kStepK = 32;
constexpr int kSteps = kChunkK / kStepK;
constexpr int64_t kSlabLines = kSlabChunks * (kChunkK / 2) * kHalves;

/** A slab in BF16: [pair of K][2 halves][16 rows][2]. */
struct alignas(64) Slab {
  uint8_t lines[kSlabLines][64];
};

template <class Format>
void decode_slab(const uint8_t* panel, int64_t num_chunks, Slab* slab) {
  constexpr int kBlock = block_format(Format::kFormat).block;
  const __m512 table = _mm512_load_ps(kE2m1AsF32);
  const __m512i upper_half = _mm512_set1_epi32(-0x10000);
  uint8_t(*lines)[64] = slab->lines;
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
    for (int block = 0; block < kChunkK / kBlock; ++block) {
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        const __m512 scales = Format::scales(panel + chunk_code_bytes(Format::kFormat) +
                                             block * kPanelRows + half * kLanes);
#pragma GCC unroll 4
        for (int i = 0; i < kBlock / 8; ++i) {
          const int group = block * (kBlock / 8) + i;
          const __m512i codes = _mm512_load_si512(panel + (group * kHalves + half) * 64);
#pragma GCC unroll 4
          for (int pair = 0; pair < 4; ++pair) {
            const __m512 even = _mm512_mul_ps(
                scales, _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * pair), table));
            const __m512 odd = _mm512_mul_ps(
                scales, _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * pair + 16), table));
            const __m512i both =
                _mm512_or_epi32(_mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                _mm512_and_epi32(_mm512_castps_si512(odd), upper_half));
            _mm512_store_si512(lines[(group * 4 + pair) * kHalves + half], both);
          }
        }
      }
    }
    panel += chunk_bytes(Format::kFormat);
    lines += (kChunkK / 2) * kHalves;
  }
}

/** Adds to the sums of one or two tiles of tokens. Registers: 0 to 3 sums, 4 and 5 tokens, 6 and 7
 *  the halves of the panel. */
template <bool kTwo>
void multiply_slab(const uint8_t* lines, int64_t first, int64_t num_chunks, const TokenTile* tiles,
                   float* sums) {
  constexpr int64_t kLineStride = kHalves * 64;
  float* const second_sums = sums + tiles[0].tokens * kPanelRows;
  const TokenTile& second = tiles[kTwo ? 1 : 0];
  const auto* x0 = static_cast<const uint8_t*>(tiles[0].rows[0]) + first * kTokenBytes;
  const auto* x1 = static_cast<const uint8_t*>(second.rows[0]) + first * kTokenBytes;
  const int64_t stride0 = stride(tiles[0]);
  const int64_t stride1 = stride(second);
  _tile_loadd(0, sums, kSumsStride);
  _tile_loadd(1, sums + kLanes, kSumsStride);
  if constexpr (kTwo) {
    _tile_loadd(2, second_sums, kSumsStride);
    _tile_loadd(3, second_sums + kLanes, kSumsStride);
  }
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
    for (int step = 0; step < kSteps; ++step) {
      _tile_loadd(6, lines, kLineStride);
      _tile_loadd(7, lines + 64, kLineStride);
      const int64_t offset = chunk * kTokenBytes + step * 64;
      _tile_loadd(4, x0 + offset, stride0);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_loadd(5, x1 + offset, stride1);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      lines += kStepK / 2 * kLineStride;
    }
  }
  _tile_stored(0, sums, kSumsStride);
  _tile_stored(1, sums + kLanes, kSumsStride);
  if constexpr (kTwo) {
    _tile_stored(2, second_sums, kSumsStride);
    _tile_stored(3, second_sums + kLanes, kSumsStride);
  }
}

void configure(const TokenTile* tiles, int count) {
  TileConfig config;
  for (int i = 0; i < count; ++i) {
    config.set(2 * i, tiles[i].tokens, 64);
    config.set(2 * i + 1, tiles[i].tokens, 64);
    config.set(4 + i, tiles[i].tokens, 64);
  }
  config.set(6, kStepK / 2, 64);
  config.set(7, kStepK / 2, 64);
  config.load();
}

template <class Format>
void multiply_tiles(const PanelProduct& product) {
  int64_t tokens = 0;
  for (int32_t i = 0; i < product.num_tiles; ++i) tokens += product.tiles[i].tokens;
  for (int64_t i = 0; i < tokens * kHalves; ++i) {
    _mm512_store_ps(product.sums + i * kLanes, _mm512_setzero_ps());
  }
  Slab slab;
  int32_t configured[2] = {0, 0};
  for (int64_t first = 0; first < product.chunks; first += kSlabChunks) {
    const int64_t rest = product.chunks - first;
    const int64_t num_chunks = rest < kSlabChunks ? rest : kSlabChunks;
    const uint8_t* panel = product.panel + first * chunk_bytes(Format::kFormat);
    const uint8_t* lines = panel;
    if constexpr (Format::kFormat != MOE4J_FORMAT_BF16) {
      decode_slab<Format>(panel, num_chunks, &slab);
      lines = slab.lines[0];
    }
    float* sums = product.sums;
    for (int32_t i = 0; i < product.num_tiles; i += 2) {
      const TokenTile* tiles = product.tiles + i;
      const int32_t count = product.num_tiles - i < 2 ? 1 : 2;
      const int32_t second = count == 2 ? tiles[1].tokens : 0;
      if (configured[0] != tiles[0].tokens || configured[1] != second) {
        configure(tiles, count);
        configured[0] = tiles[0].tokens;
        configured[1] = second;
      }
      (count == 2 ? multiply_slab<true> : multiply_slab<false>)(lines, first, num_chunks, tiles,
                                                                sums);
      sums += (tiles[0].tokens + second) * kPanelRows;
    }
  }
  _tile_release();
  if constexpr (Format::kUnit != 1) {
    const __m512 unit = _mm512_set1_ps(Format::kUnit);
    for (int64_t i = 0; i < tokens * kHalves; ++i) {
      float* vector = product.sums + i * kLanes;
      _mm512_store_ps(vector, _mm512_mul_ps(_mm512_load_ps(vector), unit));
    }
  }
}

}  // namespace

const Kernels kAmxBf16Kernels = {
    InstructionSet::kAmxBf16,
    {ActivationLayout::kBf16,
     {multiply_tiles<Bf16Weights>, multiply_tiles<Nvfp4>, multiply_tiles<Mxfp4>},
     true},
    {},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

}  // namespace moe4j
