// Packed panels against the layout that panel_layout.hpp promises, read back nibble by nibble.
#include "cpu/prepare.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "cpu/panel_layout.hpp"
#include "formats/e4m3.hpp"
#include "formats/ue8m0.hpp"

namespace moe4j {
namespace {

/** The 16 values of a code, by index. */
constexpr double kE2m1[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6};

/** A matrix of 32 rows as a checkpoint has it. */
struct Source {
  Source(int32_t weight_format, int64_t columns, uint64_t seed)
      : format(weight_format),
        k(columns),
        codes(static_cast<size_t>(kPanelRows * block_format(format).code_bytes(k))),
        scales(static_cast<size_t>(kPanelRows * block_format(format).scale_bytes(k))) {
    std::mt19937_64 random(seed);
    for (uint8_t& byte : codes) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : scales) {
      do {
        byte = static_cast<uint8_t>(random());
      } while ((byte & 0x7F) == 0x7F);
    }
    for (int64_t row = 0; row < kPanelRows; ++row) {
      rows.push_back(
          {codes.data() + row * block_format(format).code_bytes(k),
           scales.empty() ? nullptr : scales.data() + row * block_format(format).scale_bytes(k)});
    }
  }

  double value(int64_t row, int64_t column) const {
    const uint8_t byte = rows[static_cast<size_t>(row)].codes[column / 2];
    const double code = kE2m1[column % 2 == 0 ? byte & 15 : byte >> 4];
    const uint8_t scale =
        rows[static_cast<size_t>(row)].scales[column / block_format(format).block];
    return code * (format == MOE4J_FORMAT_NVFP4 ? e4m3_decode(scale) : ue8m0_decode(scale));
  }

  int32_t format;
  int64_t k;
  std::vector<uint8_t> codes;
  std::vector<uint8_t> scales;
  std::vector<SourceRow> rows;
};

/** The value of an element, found where the comment in panel_layout.hpp says it lies. */
double packed_value(int32_t format, const std::vector<uint8_t>& panel, int64_t row, int64_t k) {
  const uint8_t* chunk = panel.data() + k / 64 * chunk_bytes(format);
  const int64_t group = k % 64 / 8;
  const int64_t bit = (k % 2) * 16 + (k % 8) / 2 * 4;
  const uint8_t byte = chunk[(group * 32 + row) * 4 + bit / 8];
  const int nibble = bit % 8 == 0 ? byte & 15 : byte >> 4;
  const int64_t block = format == MOE4J_FORMAT_NVFP4 ? 16 : 32;
  const uint8_t scale = chunk[1024 + k % 64 / block * 32 + row];
  EXPECT_TRUE(format != MOE4J_FORMAT_NVFP4 || scale < 0x80);
  return kE2m1[nibble] * (format == MOE4J_FORMAT_NVFP4 ? e4m3_decode(scale) : ue8m0_decode(scale));
}

TEST(PackPanel, PutsEveryFp4ElementInItsPlace) {
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
    for (const int64_t k : {32, 64, 96, 160, 320}) {
      const Source source(format, k, static_cast<uint64_t>(k));
      std::vector<uint8_t> panel(static_cast<size_t>(panel_bytes(format, k)), 0xAA);
      pack_panel(format, k, source.rows.data(), panel.data());
      for (int64_t row = 0; row < kPanelRows; ++row) {
        for (int64_t column = 0; column < padded_k(k); ++column) {
          const double expected = column < k ? source.value(row, column) : 0;
          ASSERT_EQ(packed_value(format, panel, row, column), expected)
              << format << " [" << row << ", " << column << "] of " << k;
        }
      }
    }
  }
}

TEST(PackPanel, PutsEveryBf16ElementInItsPlace) {
  for (const int64_t k : {1, 2, 63, 64, 65, 130}) {
    const Source source(MOE4J_FORMAT_BF16, k, static_cast<uint64_t>(k));
    std::vector<uint8_t> panel(static_cast<size_t>(panel_bytes(MOE4J_FORMAT_BF16, k)), 0xAA);
    pack_panel(MOE4J_FORMAT_BF16, k, source.rows.data(), panel.data());
    const auto* packed = reinterpret_cast<const uint16_t*>(panel.data());
    const auto* codes = reinterpret_cast<const uint16_t*>(source.codes.data());
    for (int64_t row = 0; row < kPanelRows; ++row) {
      for (int64_t column = 0; column < padded_k(k); ++column) {
        ASSERT_EQ(packed[(column / 2 * 32 + row) * 2 + column % 2],
                  column < k ? codes[row * k + column] : 0);
      }
    }
  }
}

TEST(PackPanel, MissingRowsAreZero) {
  Source source(MOE4J_FORMAT_NVFP4, 64, 1);
  source.rows[5] = source.rows[31] = {};
  std::vector<uint8_t> panel(static_cast<size_t>(panel_bytes(MOE4J_FORMAT_NVFP4, 64)), 0xAA);
  pack_panel(MOE4J_FORMAT_NVFP4, 64, source.rows.data(), panel.data());
  for (int64_t column = 0; column < 64; ++column) {
    ASSERT_EQ(packed_value(MOE4J_FORMAT_NVFP4, panel, 5, column), 0);
    ASSERT_EQ(packed_value(MOE4J_FORMAT_NVFP4, panel, 31, column), 0);
    ASSERT_EQ(packed_value(MOE4J_FORMAT_NVFP4, panel, 30, column), source.value(30, column));
  }
}

TEST(FindNanScale, FindsTheFirst) {
  Source source(MOE4J_FORMAT_NVFP4, 640, 2);
  int64_t column = -1;
  EXPECT_FALSE(find_nan_scale(MOE4J_FORMAT_NVFP4, 640, source.rows[3], &column));
  source.scales[3 * 40 + 17] = 0xFF;
  source.scales[3 * 40 + 25] = 0x7F;
  EXPECT_TRUE(find_nan_scale(MOE4J_FORMAT_NVFP4, 640, source.rows[3], &column));
  EXPECT_EQ(column, 17);
  EXPECT_FALSE(find_nan_scale(MOE4J_FORMAT_NVFP4, 640, source.rows[4], &column));
}

}  // namespace
}  // namespace moe4j
