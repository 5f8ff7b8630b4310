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

/** Some numbers that tell rows and elements apart. */
float element(int32_t row, int64_t k) { return static_cast<float>(1000 * (row + 1) + k); }

void load_elements(int32_t row, int64_t first, int64_t length, float* piece) {
  for (int64_t i = 0; i < length; ++i) piece[i] = element(row, first + i);
}

TEST(PairTile, PutsPairsOfAllTokensSideBySideAndZerosBeyondK) {
  for (const int32_t count : {1, 3, 8}) {
    for (const int64_t k : {1, 63, 64, 65, 200}) {
      std::vector<float> tile(static_cast<size_t>(padded_k(k) * count), -1.0f);
      store_rows(
          PairTile<F32Element>(kPortableKernels, reinterpret_cast<uint8_t*>(tile.data()), count),
          count, k, load_elements);
      for (int64_t i = 0; i < padded_k(k); ++i) {
        for (int32_t row = 0; row < count; ++row) {
          ASSERT_EQ(tile[static_cast<size_t>((i / 2 * count + row) * 2 + i % 2)],
                    i < k ? element(row, i) : 0.0f);
        }
      }
    }
  }
}

TEST(Bf16RowTile, KeepsEachTokensChunksTogether) {
  constexpr int32_t kCount = 3;
  constexpr int64_t kK = 130;
  std::vector<uint16_t> tile(kCount * static_cast<size_t>(padded_k(kK)), 1);
  store_rows(Bf16RowTile(kPortableKernels, reinterpret_cast<uint8_t*>(tile.data()), kCount), kCount,
             kK, [](int32_t row, int64_t first, int64_t length, uint16_t* piece) {
               for (int64_t i = 0; i < length; ++i) piece[i] = f32_to_bf16(element(row, first + i));
             });
  for (int32_t row = 0; row < kCount; ++row) {
    for (int64_t k = 0; k < padded_k(kK); ++k) {
      const int64_t at = (k / kChunkK * kCount + row) * kChunkK + k % kChunkK;
      ASSERT_EQ(tile[static_cast<size_t>(at)], k < kK ? f32_to_bf16(element(row, k)) : 0);
    }
  }
}

TEST(Int8Tile, PutsWordsOfAllTokensSideBySideAndCodesInRowsIfAskedTo) {
  constexpr int32_t kCount = 5;
  constexpr int64_t kK = 160;
  std::vector<uint8_t> quads(kCount * 3 * sizeof(Int8Chunk));
  std::vector<uint8_t> rows(quads.size());
  store_rows(Int8Tile<false>(kPortableKernels, quads.data(), kCount), kCount, kK, load_elements);
  store_rows(Int8Tile<true>(kPortableKernels, rows.data(), kCount), kCount, kK, load_elements);
  for (int32_t row = 0; row < kCount; ++row) {
    for (int64_t first = 0; first < kK; first += kChunkK) {
      float values[kChunkK] = {};
      load_elements(row, first, std::min(kChunkK, kK - first), values);
      Int8Chunk expected;
      kPortableKernels.quantize_int8(values, &expected);
      const auto* bytes = reinterpret_cast<const uint8_t*>(&expected);
      const size_t chunk = static_cast<size_t>(first / kChunkK) * kCount * sizeof(Int8Chunk);
      for (size_t word = 0; word < sizeof(Int8Chunk) / 4; ++word) {
        const size_t at = chunk + (word * kCount + static_cast<size_t>(row)) * 4;
        ASSERT_EQ(std::memcmp(quads.data() + at, bytes + word * 4, 4), 0);
        if (word >= 16) {
          ASSERT_EQ(std::memcmp(rows.data() + at, bytes + word * 4, 4), 0);
        }
      }
      ASSERT_EQ(std::memcmp(rows.data() + chunk + static_cast<size_t>(row) * 64, bytes, 64), 0);
    }
  }
}

}  // namespace
}  // namespace moe4j
