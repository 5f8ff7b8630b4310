#include "formats/bf16.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace moe4j {
namespace {

/** The value of BF16 bits by the definition: 1 sign, 8 exponent (bias 127), 7 mantissa bits. */
double bf16_value(int bits) {
  const int exponent = (bits >> 7) & 0xFF;
  const int mantissa = bits & 0x7F;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -126 - 7)
                                         : std::ldexp(128 + mantissa, exponent - 127 - 7);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

bool is_special(int bits) { return ((bits >> 7) & 0xFF) == 0xFF; }

TEST(Bf16, DecodesEveryCode) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if (!is_special(bits)) {
      ASSERT_EQ(value, bf16_value(bits)) << bits;
    } else {
      ASSERT_EQ(std::isinf(value), (bits & 0x7F) == 0) << bits;
      ASSERT_EQ(std::isnan(value), (bits & 0x7F) != 0) << bits;
    }
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
  }
}

TEST(Bf16, EncodingIsTheInverseOfDecoding) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value)))) << bits;
    } else {
      ASSERT_EQ(f32_to_bf16(value), bits);
    }
  }
}

TEST(Bf16, RoundsToNearestWithTiesToEvenBetweenAllNeighbours) {
  for (int bits = 0; bits < 0x7F7F; ++bits) {
    const double tie = (bf16_value(bits) + bf16_value(bits + 1)) / 2;
    const auto at_tie = static_cast<float>(tie);  // exact: one bit more than BF16
    ASSERT_EQ(f32_to_bf16(at_tie), bits + bits % 2) << bits;
    ASSERT_EQ(f32_to_bf16(-at_tie), 0x8000 + bits + bits % 2) << bits;
    ASSERT_EQ(f32_to_bf16(std::nextafterf(at_tie, 0)), bits) << bits;
    ASSERT_EQ(f32_to_bf16(std::nextafterf(at_tie, INFINITY)), bits + 1) << bits;
  }
}

TEST(Bf16, OverflowsToInfinityOnlyFromHalfwayBeyondTheLargest) {
  const float largest = bf16_to_f32(0x7F7F);
  const float halfway = 0x1.FFp127f;
  EXPECT_EQ(f32_to_bf16(std::nextafterf(halfway, 0)), 0x7F7F);
  EXPECT_GT(halfway, largest);
  EXPECT_EQ(f32_to_bf16(halfway), 0x7F80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
}

}  // namespace
}  // namespace moe4j
