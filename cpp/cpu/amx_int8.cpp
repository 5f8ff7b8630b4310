// Kernels for AMX with 8-bit tiles: activations in INT8.
//
// A slab of a panel is decoded once into twice its weights, which are small integers. A tile
// multiplication spans one block of weights, so its sums are exact integers; they go through memory
// to be multiplied by the scales of both sides in F32.
#include "cpu/amx_tiles.hpp"
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/swiglu.hpp"

namespace moe4j {
namespace {

constexpr int kChunkLines = kChunkK / 4;  // of one half of a panel

/** A slab's weights: [2 halves][four of K][16 rows][4] a chunk. */
struct alignas(64) Slab {
  int8_t lines[kSlabChunks][kHalves][kChunkLines][64];
};

/** 2 * E2M1, four times: a shuffle looks within 16 bytes. */
alignas(64) constexpr int8_t kTwiceWeights[64] = {
    0,  1,  2,  3,   4,  6,  8,  12, 0,  -1,  -2, -3, -4, -6, -8, -12, 0,  1,  2,  3,  4,  6,
    8,  12, 0,  -1,  -2, -3, -4, -6, -8, -12, 0,  1,  2,  3,  4,  6,   8,  12, 0,  -1, -2, -3,
    -4, -6, -8, -12, 0,  1,  2,  3,  4,  6,   8,  12, 0,  -1, -2, -3,  -4, -6, -8, -12};

template <class Format>
void decode_slab(const uint8_t* panel, int64_t num_chunks, Slab* slab) {
  const __m512i table = _mm512_load_si512(kTwiceWeights);
  const __m512i low_nibble = _mm512_set1_epi8(0x0F);
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
    for (int group = 0; group < kChunkK / 8; ++group) {
      for (int half = 0; half < kHalves; ++half) {
        const __m512i codes = _mm512_load_si512(panel + (group * kHalves + half) * 64);
        int8_t(*lines)[64] = slab->lines[chunk][half] + group * 2;
        _mm512_store_si512(lines[0],
                           _mm512_shuffle_epi8(table, _mm512_and_si512(codes, low_nibble)));
        _mm512_store_si512(
            lines[1],
            _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(codes, 4), low_nibble)));
      }
    }
    panel += chunk_bytes(Format::kFormat);
  }
}

/** Registers: 0 and 1 sums of the halves, 2 tokens, 3 and 4 the halves of the panel. */
template <class Format>
void configure(int32_t tokens) {
  constexpr int kBlock = block_format(Format::kFormat).block;
  TileConfig config;
  config.set(0, tokens, 64);
  config.set(1, tokens, 64);
  config.set(2, tokens, kBlock);
  config.set(3, kBlock / 4, 64);
  config.set(4, kBlock / 4, 64);
  config.load();
}

template <class Format>
void multiply_slab(const Slab& slab, const uint8_t* panel, int64_t first, int64_t num_chunks,
                   const TokenTile& tile, float* sums) {
  constexpr int kBlock = block_format(Format::kFormat).block;
  const auto* x = static_cast<const Int8Chunk*>(tile.rows[0]) + first;
  alignas(64) int32_t products[kHalves][kTileTokens][kLanes];
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
    for (int block = 0; block < kChunkK / kBlock; ++block) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_loadd(2, x[chunk].codes + block * kBlock, stride(tile));
      _tile_loadd(3, slab.lines[chunk][0][block * kBlock / 4], 64);
      _tile_loadd(4, slab.lines[chunk][1][block * kBlock / 4], 64);
      _tile_dpbssd(0, 2, 3);
      _tile_dpbssd(1, 2, 4);
      _tile_stored(0, products[0], 64);
      _tile_stored(1, products[1], 64);
      const uint8_t* weight_scales = panel + chunk_code_bytes(Format::kFormat) + block * kPanelRows;
      const __m512 low_scales = Format::scales(weight_scales);
      const __m512 high_scales = Format::scales(weight_scales + kLanes);
      for (int64_t t = 0; t < tile.tokens; ++t) {
        const auto* row = static_cast<const Int8Chunk*>(tile.rows[t]) + first;
        const __m512 scale = _mm512_set1_ps(row[chunk].scales[block * kBlock / kInt8Block]);
        float* low_sums = sums + t * kPanelRows;
        float* high_sums = low_sums + kLanes;
        _mm512_store_ps(
            low_sums, _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(products[0][t])),
                                      _mm512_mul_ps(low_scales, scale), _mm512_load_ps(low_sums)));
        _mm512_store_ps(
            high_sums,
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(products[1][t])),
                            _mm512_mul_ps(high_scales, scale), _mm512_load_ps(high_sums)));
      }
    }
    panel += chunk_bytes(Format::kFormat);
  }
}

template <class Format>
void multiply_tiles(const PanelProduct& product) {
  int64_t tokens = 0;
  for (int32_t i = 0; i < product.num_tiles; ++i) tokens += product.tiles[i].tokens;
  const int64_t vectors = tokens * kHalves;
  for (int64_t i = 0; i < vectors; ++i) {
    _mm512_store_ps(product.sums + i * kLanes, _mm512_setzero_ps());
  }
  Slab slab;
  int32_t configured = 0;
  for (int64_t first = 0; first < product.chunks; first += kSlabChunks) {
    const int64_t rest = product.chunks - first;
    const int64_t num_chunks = rest < kSlabChunks ? rest : kSlabChunks;
    const uint8_t* panel = product.panel + first * chunk_bytes(Format::kFormat);
    decode_slab<Format>(panel, num_chunks, &slab);
    float* sums = product.sums;
    for (int32_t i = 0; i < product.num_tiles; ++i) {
      const TokenTile& tile = product.tiles[i];
      if (tile.tokens != configured) configure<Format>(tile.tokens);
      configured = tile.tokens;
      multiply_slab<Format>(slab, panel, first, num_chunks, tile, sums);
      sums += tile.tokens * kPanelRows;
    }
  }
  _tile_release();
  const __m512 unit = _mm512_set1_ps(Format::kUnit / 2);  // weights are doubled
  for (int64_t i = 0; i < vectors; ++i) {
    float* vector = product.sums + i * kLanes;
    _mm512_store_ps(vector, _mm512_mul_ps(_mm512_load_ps(vector), unit));
  }
}

}  // namespace

const Kernels kAmxInt8Kernels = {
    InstructionSet::kAmxInt8,
    {},
    {ActivationLayout::kInt8, {nullptr, multiply_tiles<Nvfp4>, multiply_tiles<Mxfp4>}, true},
    moe4j_quantize_int8,
    moe4j_swiglu,
    moe4j_dot_f64,
};

}  // namespace moe4j
