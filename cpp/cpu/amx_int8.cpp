// Kernels for AMX with 8-bit tiles: activations in INT8.
//
// A slab of a panel is decoded once into twice its weights, which are small integers, and scales in
// F32. A tile multiplication spans one block of weights, so its sums are exact integers. They go
// through memory to be multiplied by the scales of both sides: some blocks of all tokens first,
// then token by token, so that a token's F32 sums stay in registers for these blocks.
#include "cpu/amx_tiles.hpp"
#include "cpu/dot_f64.hpp"
#include "cpu/int8_activations.hpp"
#include "cpu/swiglu.hpp"

namespace moe4j {
namespace {

constexpr int kChunkLines = kChunkK / 4;  // of one half of a panel

/** Blocks of which a tile's products wait in memory. */
constexpr int kWaitingBlocks = 4;

/** A slab's weights: [2 halves][four of K][16 rows][4] a chunk. */
template <class Format>
struct alignas(64) Slab {
  static constexpr int kBlock = block_format(Format::kFormat).block;
  static constexpr int kChunkBlocks = kChunkK / kBlock;
  int8_t lines[kSlabChunks][kHalves][kChunkLines][64];
  float scales[kSlabChunks * kChunkBlocks][kPanelRows];
};

/** 2 * E2M1, four times: a shuffle looks within 16 bytes. */
alignas(64) constexpr int8_t kTwiceWeights[64] = {
    0,  1,  2,  3,   4,  6,  8,  12, 0,  -1,  -2, -3, -4, -6, -8, -12, 0,  1,  2,  3,  4,  6,
    8,  12, 0,  -1,  -2, -3, -4, -6, -8, -12, 0,  1,  2,  3,  4,  6,   8,  12, 0,  -1, -2, -3,
    -4, -6, -8, -12, 0,  1,  2,  3,  4,  6,   8,  12, 0,  -1, -2, -3,  -4, -6, -8, -12};

template <class Format>
void decode_slab(const uint8_t* panel, int64_t num_chunks, Slab<Format>* slab) {
  constexpr int kChunkBlocks = Slab<Format>::kChunkBlocks;
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
    const uint8_t* scales = panel + chunk_code_bytes(Format::kFormat);
    for (int64_t i = 0; i < kChunkBlocks * kHalves; ++i) {
      _mm512_store_ps(slab->scales[chunk * kChunkBlocks] + i * kLanes,
                      Format::scales(scales + i * kLanes));
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

/** The integer sums of a block, of a tile with both halves of a panel. */
struct alignas(64) BlockProducts {
  int32_t sums[kHalves][kTileTokens][kLanes];
};

template <class Format>
void multiply_slab(const Slab<Format>& slab, int64_t first, int64_t num_chunks,
                   const TokenTile& tile, float* sums) {
  constexpr int kBlock = Slab<Format>::kBlock;
  constexpr int kChunkBlocks = Slab<Format>::kChunkBlocks;
  constexpr int kWaitingChunks = kWaitingBlocks / kChunkBlocks;
  BlockProducts products[kWaitingBlocks];
  const int64_t token_stride = stride(tile);
  for (int64_t begin = 0; begin < num_chunks; begin += kWaitingChunks) {
    const int64_t rest = num_chunks - begin;
    const int64_t count = rest < kWaitingChunks ? rest : kWaitingChunks;
    const auto* x = static_cast<const Int8Chunk*>(tile.rows[0]) + first + begin;
    for (int64_t chunk = 0; chunk < count; ++chunk) {
      const auto& lines = slab.lines[begin + chunk];
      for (int block = 0; block < kChunkBlocks; ++block) {
        BlockProducts* product = products + chunk * kChunkBlocks + block;
        _tile_zero(0);
        _tile_zero(1);
        _tile_loadd(2, x[chunk].codes + block * kBlock, token_stride);
        _tile_loadd(3, lines[0][block * kBlock / 4], 64);
        _tile_loadd(4, lines[1][block * kBlock / 4], 64);
        _tile_dpbssd(0, 2, 3);
        _tile_dpbssd(1, 2, 4);
        _tile_stored(0, product->sums[0], 64);
        _tile_stored(1, product->sums[1], 64);
      }
    }
    for (int32_t t = 0; t < tile.tokens; ++t) {
      const auto* row = static_cast<const Int8Chunk*>(tile.rows[t]) + first + begin;
      float* token_sums = sums + t * kPanelRows;
      __m512 low = _mm512_load_ps(token_sums);
      __m512 high = _mm512_load_ps(token_sums + kLanes);
      for (int64_t chunk = 0; chunk < count; ++chunk) {
#pragma GCC unroll 4
        for (int block = 0; block < kChunkBlocks; ++block) {
          const int64_t i = chunk * kChunkBlocks + block;
          const float* weight_scales = slab.scales[begin * kChunkBlocks + i];
          const __m512 scale = _mm512_set1_ps(row[chunk].scales[block * kBlock / kInt8Block]);
          low = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(products[i].sums[0][t])),
                                _mm512_mul_ps(_mm512_load_ps(weight_scales), scale), low);
          high =
              _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(products[i].sums[1][t])),
                              _mm512_mul_ps(_mm512_load_ps(weight_scales + kLanes), scale), high);
        }
      }
      _mm512_store_ps(token_sums, low);
      _mm512_store_ps(token_sums + kLanes, high);
    }
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
  Slab<Format> slab;
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
      multiply_slab<Format>(slab, first, num_chunks, tile, sums);
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
