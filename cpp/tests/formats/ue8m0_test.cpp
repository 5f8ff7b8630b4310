#include "formats/ue8m0.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "formats/bf16.hpp"

namespace moe4j {
namespace {

TEST(Ue8m0, DecodesAll256Codes) {
  for (int code = 0; code < 255; ++code) {
    EXPECT_EQ(ue8m0_decode(static_cast<uint8_t>(code)), std::ldexp(1.0, code - 127)) << code;
  }
  EXPECT_TRUE(std::isnan(ue8m0_decode(255)));
}

/** Searches the smallest code for which nothing saturates. */
int smallest_scale(double amax, double max_code) {
  int code = 0;
  while (amax > max_code * std::ldexp(1.0, code - 127)) ++code;
  return code;
}

TEST(Ue8m0, ChoosesTheSmallestScaleThatDoesNotSaturateForEveryBf16) {
  for (const float max_code : {6.0f, 448.0f}) {
    for (int bits = 0; bits < 0x7F80; ++bits) {
      const float amax = bf16_to_f32(static_cast<uint16_t>(bits));
      ASSERT_EQ(ue8m0_smallest_scale(amax, max_code), smallest_scale(amax, max_code)) << amax;
    }
  }
}

TEST(Ue8m0, ScalesChangeExactlyAtTheLargestCode) {
  for (const float max_code : {6.0f, 448.0f}) {
    for (int code = 1; code < 240; ++code) {
      const float edge = max_code * std::ldexp(1.0f, code - 127);
      ASSERT_EQ(ue8m0_smallest_scale(edge, max_code), code);
      ASSERT_EQ(ue8m0_smallest_scale(std::nextafterf(edge, INFINITY), max_code), code + 1);
    }
    EXPECT_EQ(ue8m0_smallest_scale(std::numeric_limits<float>::max(), max_code),
              smallest_scale(std::numeric_limits<float>::max(), max_code));
    EXPECT_EQ(ue8m0_smallest_scale(std::numeric_limits<float>::denorm_min(), max_code), 0);
    EXPECT_EQ(ue8m0_smallest_scale(0, max_code), 0);
  }
}

}  // namespace
}  // namespace moe4j
