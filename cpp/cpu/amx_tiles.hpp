// What the two AMX instruction sets share: shapes of tile registers.
//
// Tokens are rows of A, weights are B: a register of 64 bytes a row, each with 16 weight rows of
// four bytes along K. That is how the lines of a panel lie, once decoded.
//
// Everything is in an unnamed namespace: see kernels.hpp.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/avx512_panel.hpp"

namespace moe4j {
namespace {

constexpr int kTileTokens = 16;

/** The operand of ldtilecfg. */
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }

  /** GCC believes that ldtilecfg reads eight bytes; the barrier keeps it from leaving out the rest.
   */
  void load() const {
    asm volatile("" : : "r"(this) : "memory");
    _tile_loadconfig(this);
  }
};

/** A slab's elements of a tile of tokens, `kLines` lines of each chunk, together as A wants them:
 *  its rows lie at equal distances. */
template <int kLines>
struct alignas(64) TokenSlab {
  uint8_t lines[kSlabChunks][kTileTokens][kLines * 64];

  void gather(const TokenTile& tile, ActivationLayout layout, int64_t first, int64_t num_chunks) {
    for (int32_t t = 0; t < tile.tokens; ++t) {
      const auto* row = static_cast<const uint8_t*>(tile.rows[t]);
      for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
        const uint8_t* source = row + (first + chunk) * chunk_token_bytes(layout);
#pragma GCC unroll 2
        for (int line = 0; line < kLines; ++line) {
          _mm512_store_si512(lines[chunk][t] + line * 64, _mm512_loadu_si512(source + line * 64));
        }
      }
    }
  }
};

}  // namespace
}  // namespace moe4j
