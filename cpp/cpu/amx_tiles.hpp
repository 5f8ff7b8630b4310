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

/** Bytes from one token of a tile to the next, the same for all: so A wants its rows. */
int64_t stride(const TokenTile& tile) {
  return tile.tokens == 1 ? 0
                          : static_cast<const uint8_t*>(tile.rows[1]) -
                                static_cast<const uint8_t*>(tile.rows[0]);
}

}  // namespace
}  // namespace moe4j
