#include "formats/e4m3.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "formats/bf16.hpp"
#include "formats/nearest.hpp"

namespace moe4j {
namespace {

TEST(E4m3, DecodesAll256Codes) {
  const auto magnitudes = test::e4m3_magnitudes();
  for (int code = 0; code < 256; ++code) {
    const float value = e4m3_decode(static_cast<uint8_t>(code));
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_TRUE(e4m3_is_nan(static_cast<uint8_t>(code))) << code;
      continue;
    }
    EXPECT_FALSE(e4m3_is_nan(static_cast<uint8_t>(code))) << code;
    EXPECT_EQ(std::fabs(value), magnitudes[code & 0x7F]) << code;
    EXPECT_EQ(std::signbit(value), code >= 0x80) << code;
  }
  EXPECT_EQ(e4m3_decode(0x7E), 448.0f);
  EXPECT_EQ(e4m3_decode(0x01), std::ldexp(1.0f, -9));
}

TEST(E4m3, EncodingIsTheInverseOfDecoding) {
  for (int code = 0; code < 256; ++code) {
    const float value = e4m3_decode(static_cast<uint8_t>(code));
    const int expected = std::isnan(value) ? 0x7F : code;
    EXPECT_EQ(e4m3_encode(value), expected);
    EXPECT_EQ(e4m3_encode(static_cast<double>(value)), expected);
  }
}

TEST(E4m3, EncodesEveryBf16ToTheNearestCode) {
  const auto magnitudes = test::e4m3_magnitudes();
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    const int expected =
        test::nearest_magnitude(magnitudes, value) | (std::signbit(value) ? 0x80 : 0);
    ASSERT_EQ(e4m3_encode(value), expected) << value;
    ASSERT_EQ(e4m3_encode(static_cast<double>(value)), expected) << value;
  }
}

TEST(E4m3, TiesGoToTheEvenCodeAndNeighboursOfTiesDoNot) {
  const auto magnitudes = test::e4m3_magnitudes();
  for (size_t low = 0; low + 1 < magnitudes.size(); ++low) {
    const double tie = (magnitudes[low] + magnitudes[low + 1]) / 2;
    const size_t even = low + low % 2;
    ASSERT_EQ(e4m3_encode(tie), even);
    ASSERT_EQ(e4m3_encode(-tie), 0x80 + even);
    ASSERT_EQ(e4m3_encode(static_cast<float>(tie)), even);
    ASSERT_EQ(e4m3_encode(std::nextafter(tie, 0.0)), low) << tie;
    ASSERT_EQ(e4m3_encode(std::nextafter(tie, 1e3)), low + 1) << tie;
    ASSERT_EQ(e4m3_encode(std::nextafterf(static_cast<float>(tie), 0)), low) << tie;
    ASSERT_EQ(e4m3_encode(std::nextafterf(static_cast<float>(tie), 1e3f)), low + 1) << tie;
  }
}

TEST(E4m3, Saturates) {
  for (const float value :
       {449.0f, 464.0f, 480.0f, 1e30f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(e4m3_encode(value), 0x7E) << value;
    EXPECT_EQ(e4m3_encode(-value), 0xFE) << value;
    EXPECT_EQ(e4m3_encode(static_cast<double>(value)), 0x7E) << value;
  }
  EXPECT_EQ(e4m3_encode(std::numeric_limits<float>::quiet_NaN()), 0x7F);
  EXPECT_EQ(e4m3_encode(-std::numeric_limits<double>::quiet_NaN()), 0x7F);
}

}  // namespace
}  // namespace moe4j
