#include "cpu/token_tiles.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace moe4j {
namespace {

TEST(TileRange, DividesRowsEvenlyWithoutGaps) {
  for (const int32_t tile_tokens : {1, 4, 6, 8}) {
    for (int64_t rows = 1; rows <= 70; ++rows) {
      const int64_t tiles = num_tiles(rows, tile_tokens);
      int64_t next = 0;
      int32_t smallest = tile_tokens;
      int32_t largest = 0;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const TileRange range = tile_range(rows, tile_tokens, tile);
        EXPECT_EQ(range.begin, next);
        next += range.count;
        smallest = std::min(smallest, range.count);
        largest = std::max(largest, range.count);
      }
      EXPECT_EQ(next, rows);
      EXPECT_LE(largest, tile_tokens);
      EXPECT_LE(largest - smallest, 1);
    }
  }
}

}  // namespace
}  // namespace moe4j
