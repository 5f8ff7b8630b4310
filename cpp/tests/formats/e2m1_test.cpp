#include "formats/e2m1.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "formats/bf16.hpp"
#include "formats/nearest.hpp"

namespace moe4j {
namespace {

TEST(E2m1, DecodesItsSixteenCodes) {
  const auto magnitudes = test::e2m1_magnitudes();
  for (int code = 0; code < 16; ++code) {
    const float value = e2m1_decode(static_cast<uint8_t>(code));
    EXPECT_EQ(std::fabs(value), magnitudes[code & 7]) << "code " << code;
    EXPECT_EQ(std::signbit(value), (code & 8) != 0) << "code " << code;
  }
}

TEST(E2m1, EncodesEveryBf16ToTheNearestCode) {
  const auto magnitudes = test::e2m1_magnitudes();
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    const int expected = test::nearest_magnitude(magnitudes, value) | (std::signbit(value) ? 8 : 0);
    ASSERT_EQ(e2m1_encode(value), expected) << value;
    ASSERT_EQ(e2m1_encode(static_cast<double>(value)), expected) << value;
  }
}

TEST(E2m1, TiesGoToTheEvenCodeAndNeighboursOfTiesDoNot) {
  const auto magnitudes = test::e2m1_magnitudes();
  for (size_t low = 0; low + 1 < magnitudes.size(); ++low) {
    const double tie = (magnitudes[low] + magnitudes[low + 1]) / 2;
    const auto even = static_cast<uint8_t>(low % 2 == 0 ? low : low + 1);
    EXPECT_EQ(e2m1_encode(tie), even);
    EXPECT_EQ(e2m1_encode(std::nextafter(tie, 0.0)), low);
    EXPECT_EQ(e2m1_encode(std::nextafter(tie, 10.0)), low + 1);
    EXPECT_EQ(e2m1_encode(std::nextafterf(static_cast<float>(tie), 0.0f)), low);
    EXPECT_EQ(e2m1_encode(std::nextafterf(static_cast<float>(tie), 10.0f)), low + 1);
  }
}

TEST(E2m1, SaturatesAndMapsNanToTheLargestCode) {
  EXPECT_EQ(e2m1_encode(std::numeric_limits<float>::infinity()), 7);
  EXPECT_EQ(e2m1_encode(-std::numeric_limits<float>::infinity()), 15);
  EXPECT_EQ(e2m1_encode(std::numeric_limits<double>::max()), 7);
  EXPECT_EQ(e2m1_encode(std::numeric_limits<float>::quiet_NaN()), 7);
}

TEST(E2m1, PacksTheEvenIndexIntoTheLowNibble) {
  const uint8_t row[] = {e2m1_pack(0x3, 0xA), e2m1_pack(0xF, 0x1)};
  EXPECT_EQ(row[0], 0xA3);
  EXPECT_EQ(e2m1_unpack(row, 0), 0x3);
  EXPECT_EQ(e2m1_unpack(row, 1), 0xA);
  EXPECT_EQ(e2m1_unpack(row, 2), 0xF);
  EXPECT_EQ(e2m1_unpack(row, 3), 0x1);
}

}  // namespace
}  // namespace moe4j
