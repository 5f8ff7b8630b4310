// How an expert's rows are divided into tiles of tokens that go through its panels together.
#pragma once

#include <cstdint>

#include "cpu/panel_layout.hpp"

namespace moe4j {

struct TileRange {
  int64_t begin;  // counted from the first of all rows
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

}  // namespace moe4j
