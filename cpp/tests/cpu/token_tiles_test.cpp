#include "cpu/token_tiles.hpp"

#include <gtest/gtest.h>

#include <vector>

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

TEST(InterleaveRows, PutsPairsOfAllTokensSideBySideAndZerosBeyondK) {
  for (const int32_t count : {1, 3, 8}) {
    for (const int64_t k : {1, 63, 64, 65, 200}) {
      std::vector<float> tile(static_cast<size_t>(padded_k(k) * count), -1.0f);
      interleave_rows(count, k, tile.data(),
                      [](int32_t row, int64_t first, int64_t length, float* piece) {
                        for (int64_t i = 0; i < length; ++i) {
                          piece[i] = static_cast<float>(1000 * (row + 1) + first + i);
                        }
                      });
      for (int64_t i = 0; i < padded_k(k); ++i) {
        for (int32_t row = 0; row < count; ++row) {
          const float expected = i < k ? static_cast<float>(1000 * (row + 1) + i) : 0.0f;
          ASSERT_EQ(tile[static_cast<size_t>((i / 2 * count + row) * 2 + i % 2)], expected);
        }
      }
    }
  }
}

}  // namespace
}  // namespace moe4j
