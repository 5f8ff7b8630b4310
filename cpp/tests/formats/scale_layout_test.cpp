#include "formats/scale_layout.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace moe4j {
namespace {

TEST(ScaleLayout, PutsElementsWhereTheTensorCoresLookForThem) {
  // One tile: byte (r % 32) * 16 + (r / 32) * 4 + c.
  EXPECT_EQ(swizzled_scale_offset(0, 0, 4), 0);
  EXPECT_EQ(swizzled_scale_offset(0, 3, 4), 3);
  EXPECT_EQ(swizzled_scale_offset(1, 0, 4), 16);
  EXPECT_EQ(swizzled_scale_offset(32, 0, 4), 4);
  EXPECT_EQ(swizzled_scale_offset(96, 2, 4), 14);
  EXPECT_EQ(swizzled_scale_offset(127, 3, 4), 511);
  // Tiles follow each other along the columns, then along the rows. 9 columns are 3 tiles.
  EXPECT_EQ(swizzled_scale_offset(0, 4, 9), 512);
  EXPECT_EQ(swizzled_scale_offset(5, 8, 9), 2 * 512 + 5 * 16);
  EXPECT_EQ(swizzled_scale_offset(128, 0, 9), 3 * 512);
}

TEST(ScaleLayout, CountsPadding) {
  EXPECT_EQ(swizzled_scale_bytes(1, 1), 512);
  EXPECT_EQ(swizzled_scale_bytes(128, 4), 512);
  EXPECT_EQ(swizzled_scale_bytes(129, 5), 4 * 512);
  EXPECT_EQ(swizzled_scale_bytes(0, 7), 0);
}

TEST(ScaleLayout, RoundTripsAndZeroesPadding) {
  std::mt19937 random(1);
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {128, 4}, {127, 3}, {129, 5}, {300, 18}, {2880, 90}}) {
    std::vector<uint8_t> linear(rows * columns);
    for (auto& scale : linear) scale = static_cast<uint8_t>(1 + random() % 255);
    std::vector<uint8_t> swizzled(swizzled_scale_bytes(rows, columns), 0xAA);
    swizzle_scales(rows, columns, linear.data(), swizzled.data());

    std::set<int64_t> used;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t offset = swizzled_scale_offset(r, c, columns);
        ASSERT_TRUE(used.insert(offset).second) << "two elements share byte " << offset;
        ASSERT_EQ(swizzled[offset], linear[r * columns + c]);
      }
    }
    for (size_t i = 0; i < swizzled.size(); ++i) {
      if (used.count(static_cast<int64_t>(i)) == 0) {
        ASSERT_EQ(swizzled[i], 0) << "padding " << i;
      }
    }

    std::vector<uint8_t> back(linear.size(), 0);
    unswizzle_scales(rows, columns, swizzled.data(), back.data());
    EXPECT_EQ(back, linear);
  }
}

}  // namespace
}  // namespace moe4j
