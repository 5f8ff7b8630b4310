// Tiles of tokens: how an expert's rows are divided, and how their vectors are laid out.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"

namespace moe4j {

/** Some rows of one expert that go through its panels together. */
struct TileRange {
  int64_t begin;  // counted from the expert's first row
  int32_t count;
};

constexpr int64_t num_tiles(int64_t rows, int32_t tile_tokens) {
  return ceil_div(rows, tile_tokens);
}

/** The rows in as few tiles as possible, all of them as large as any other or smaller by one: 9
 *  rows in tiles of 8 are 5 and 4, which costs less than 8 and 1. */
constexpr TileRange tile_range(int64_t rows, int32_t tile_tokens, int64_t tile) {
  const int64_t tiles = num_tiles(rows, tile_tokens);
  const int64_t size = rows / tiles;
  const int64_t larger = rows % tiles;
  return {tile * size + (tile < larger ? tile : larger),
          static_cast<int32_t>(size + (tile < larger ? 1 : 0))};
}

/**
 * Writes a tile's vectors as kernels read them, [padded K / 2][count][2], zeros beyond K.
 * `load(i, first, length, piece)` gives elements [first, first + length) of the tile's i-th row;
 * pieces are kChunkK long, the last one may be shorter.
 */
template <class Element, class Load>
void interleave_rows(int32_t count, int64_t k, Element* tile, const Load& load) noexcept {
  for (int64_t first = 0; first < k; first += kChunkK) {
    const int64_t length = k - first < kChunkK ? k - first : kChunkK;
    for (int32_t i = 0; i < count; ++i) {
      Element piece[kChunkK] = {};
      load(i, first, length, piece);
      Element* pairs = tile + (first / 2 * count + i) * 2;
      for (int64_t pair = 0; pair < kChunkK / 2; ++pair) {
        std::memcpy(pairs + pair * count * 2, piece + pair * 2, 2 * sizeof(Element));
      }
    }
  }
}

}  // namespace moe4j
