// The quantizers against an oracle in double that searches tables of values (nearest.hpp).
#include "formats/quantize.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "formats/bf16.hpp"
#include "formats/nearest.hpp"
#include "moe4j/moe4j.h"

namespace moe4j {
namespace {

/** What quantizing one row must give, by the formats' definitions. */
struct Oracle {
  std::vector<int> codes;      // one an element
  std::vector<int> scales;     // one a block
  std::vector<double> values;  // code * block scale, without the tensor scale
};

Oracle quantize_row(int32_t format, const std::vector<float>& row, double tensor_scale) {
  const bool nvfp4 = format == MOE4J_FORMAT_NVFP4;
  const size_t block = nvfp4 ? 16 : 32;
  const bool e2m1 = format != MOE4J_FORMAT_MXFP8;
  const auto magnitudes = e2m1 ? test::e2m1_magnitudes() : test::e4m3_magnitudes();
  const auto scale_magnitudes = test::e4m3_magnitudes();
  Oracle oracle;
  for (size_t first = 0; first < row.size(); first += block) {
    double amax = 0;
    for (size_t i = first; i < first + block; ++i) amax = std::max<double>(amax, std::fabs(row[i]));
    int scale = 0;
    double factor = 0;
    if (nvfp4) {
      scale = test::nearest_magnitude(scale_magnitudes, amax / 6 / tensor_scale);
      factor = scale_magnitudes[scale];
    } else {
      while (amax > magnitudes.back() * std::ldexp(1.0, scale - 127)) ++scale;
      factor = std::ldexp(1.0, scale - 127);
    }
    oracle.scales.push_back(scale);
    const double unit = nvfp4 ? factor * tensor_scale : factor;
    for (size_t i = first; i < first + block; ++i) {
      int code = 0;
      if (unit != 0) {
        code = test::nearest_magnitude(magnitudes, row[i] / unit);
        oracle.values.push_back(std::copysign(magnitudes[code], row[i]) * factor);
        if (std::signbit(row[i])) code |= e2m1 ? 8 : 0x80;
      } else {
        oracle.values.push_back(0);
      }
      oracle.codes.push_back(code);
    }
  }
  return oracle;
}

struct Case {
  int32_t format;
  float tensor_scale;
  int block;
  int code_bits;
};

class Quantize : public testing::TestWithParam<Case> {
 protected:
  static constexpr int64_t kRows = 7;
  static constexpr int64_t kK = 192;

  int64_t code_bytes() const { return kK * GetParam().code_bits / 8; }
  int64_t scale_bytes() const { return kK / GetParam().block; }

  /** Values of very different sizes, zeros of both signs, whole blocks of zeros and exact ties. */
  static std::vector<float> source(unsigned seed, float tensor_scale) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(kRows * kK);
    for (size_t block = 0; block < values.size(); block += 16) {
      const float size = std::ldexp(tensor_scale, static_cast<int>(random() % 24) - 8);
      for (size_t i = block; i < block + 16; ++i) {
        switch (random() % 8) {
          case 0:
            values[i] = random() % 2 != 0 ? 0.0f : -0.0f;
            break;
          case 1:  // quarters and halves of a unit: ties, once the scale is a power of two
            values[i] = size * 0.25f * static_cast<float>(static_cast<int>(random() % 49) - 24);
            break;
          default:
            values[i] = size * normal(random);
        }
        if (block % 160 == 0) values[i] = 0;
      }
    }
    return values;
  }
};

TEST_P(Quantize, GivesTheCodesOfTheOracleFromF32AndBf16) {
  const Case& c = GetParam();
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::vector<float> values = source(seed, c.tensor_scale);
    for (const int32_t dtype : {MOE4J_F32, MOE4J_BF16}) {
      std::vector<uint16_t> bf16;
      for (float& value : values) {
        bf16.push_back(f32_to_bf16(value));
        if (dtype == MOE4J_BF16) value = bf16_to_f32(bf16.back());
      }
      std::vector<uint8_t> codes(kRows * code_bytes(), 0xEE);
      std::vector<uint8_t> scales(kRows * scale_bytes(), 0xEE);
      const void* data = dtype == MOE4J_F32 ? static_cast<const void*>(values.data()) : bf16.data();
      ASSERT_TRUE(
          quantize(c.format, kRows, kK, dtype, data, c.tensor_scale, codes.data(), scales.data())
              .is_ok());
      std::vector<float> back(kRows * kK);
      dequantize(c.format, kRows, kK, codes.data(), scales.data(), c.tensor_scale, back.data());
      for (int64_t r = 0; r < kRows; ++r) {
        const Oracle expected = quantize_row(
            c.format, {values.begin() + r * kK, values.begin() + (r + 1) * kK}, c.tensor_scale);
        for (int64_t b = 0; b < scale_bytes(); ++b) {
          ASSERT_EQ(scales[r * scale_bytes() + b], expected.scales[b]) << r << ", " << b;
        }
        for (int64_t i = 0; i < kK; ++i) {
          const uint8_t byte = codes[r * code_bytes() + i * c.code_bits / 8];
          const int code = c.code_bits == 8 ? byte : (i % 2 == 0 ? byte & 0xF : byte >> 4);
          ASSERT_EQ(code, expected.codes[i]) << "value " << values[r * kK + i] << " at " << i;
          ASSERT_EQ(back[r * kK + i],
                    static_cast<float>(expected.values[i] * static_cast<double>(c.tensor_scale)));
        }
      }
    }
  }
}

TEST_P(Quantize, FakeQuantizationGivesTheValuesThatTheMatrixUnitsMultiply) {
  const Case& c = GetParam();
  for (unsigned seed = 100; seed < 150; ++seed) {
    const std::vector<float> values = source(seed, c.tensor_scale);
    const std::vector<float> row(values.begin(), values.begin() + kK);
    const Oracle expected = quantize_row(c.format, row, c.tensor_scale);
    std::vector<float> f32(kK);
    std::vector<uint16_t> bf16(kK);
    fake_quantize_row(c.format, kK, row.data(), c.tensor_scale, f32.data());
    fake_quantize_row(c.format, kK, row.data(), c.tensor_scale, bf16.data());
    std::vector<uint8_t> codes(code_bytes());
    std::vector<uint8_t> scales(scale_bytes());
    ASSERT_TRUE(quantize(c.format, 1, kK, MOE4J_F32, row.data(), c.tensor_scale, codes.data(),
                         scales.data())
                    .is_ok());
    std::vector<float> decoded(kK);
    decode_row(c.format, kK, codes.data(), scales.data(), decoded.data());
    for (int64_t i = 0; i < kK; ++i) {
      ASSERT_EQ(f32[i], expected.values[i]);
      ASSERT_EQ(bf16_to_f32(bf16[i]), expected.values[i]) << "BF16 must be exact";
      ASSERT_EQ(decoded[i], expected.values[i]);
    }
    std::vector<float> in_place = row;
    fake_quantize_row(c.format, kK, in_place.data(), c.tensor_scale, in_place.data());
    EXPECT_EQ(in_place, f32);
  }
}

TEST_P(Quantize, RefusesWhatIsNotFiniteAndNamesTheElement) {
  const Case& c = GetParam();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> values(kRows * kK, 1.0f);
    values[3 * kK + 17] = bad;
    values[3 * kK + 18] = bad;
    std::vector<uint8_t> codes(kRows * code_bytes());
    std::vector<uint8_t> scales(kRows * scale_bytes());
    const Status status = quantize(c.format, kRows, kK, MOE4J_F32, values.data(), c.tensor_scale,
                                   codes.data(), scales.data());
    EXPECT_EQ(status.code(), MOE4J_INVALID_ARGUMENT);
    EXPECT_NE(status.message().find("source: found"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("[3, 17]"), std::string::npos) << status.message();
  }
}

TEST_P(Quantize, FakeQuantizationKeepsDamageVisibleInItsBlock) {
  const Case& c = GetParam();
  std::vector<float> row(kK, 1.0f);
  row[c.block + 1] = std::numeric_limits<float>::infinity();
  std::vector<float> result(kK);
  fake_quantize_row(c.format, kK, row.data(), c.tensor_scale, result.data());
  for (int64_t i = 0; i < kK; ++i) {
    EXPECT_EQ(std::isnan(result[i]), i / c.block == 1) << i;
  }
}

/** The code on its side of the midpoint above code `low`; `side` is the sign of value - midpoint.
 */
int rounded(int low, int side) { return side == 0 ? low + low % 2 : side < 0 ? low : low + 1; }

int sign(double difference) { return (difference > 0) - (difference < 0); }

TEST(QuantizeNvfp4, RoundsByTheExactQuotientHoweverNearToATieItIs) {
  // Products with midpoints are exact in double where quotients in F32 would fall onto ties.
  const auto scale_magnitudes = test::e4m3_magnitudes();
  const auto magnitudes = test::e2m1_magnitudes();
  std::mt19937 random(11);
  std::uniform_real_distribution<float> uniform(1e-4f, 1e-3f);
  for (int draw = 0; draw < 20000; ++draw) {
    const float tensor_scale = uniform(random);
    const int low_scale = 8 + static_cast<int>(random() % 110);
    const double scale_tie = (scale_magnitudes[low_scale] + scale_magnitudes[low_scale + 1]) / 2;
    const double amax_tie = scale_tie * 6 * static_cast<double>(tensor_scale);
    std::vector<float> row(16);
    row[0] = static_cast<float>(amax_tie);
    const int scale = rounded(low_scale, sign(row[0] - amax_tie));
    const double unit = scale_magnitudes[scale] * static_cast<double>(tensor_scale);
    for (int low = 0; low < 7; ++low) {
      row[low + 1] = static_cast<float>((magnitudes[low] + magnitudes[low + 1]) / 2 * unit);
    }
    uint8_t codes[8];
    uint8_t found_scale = 0;
    ASSERT_TRUE(quantize(MOE4J_FORMAT_NVFP4, 1, 16, MOE4J_F32, row.data(), tensor_scale, codes,
                         &found_scale)
                    .is_ok());
    ASSERT_EQ(found_scale, scale) << row[0] << " with tensor scale " << tensor_scale;
    for (int low = 0; low < 7; ++low) {
      const double tie = (magnitudes[low] + magnitudes[low + 1]) / 2 * unit;
      const int i = low + 1;
      ASSERT_EQ(codes[i / 2] >> (i % 2 * 4) & 0xF, rounded(low, sign(row[i] - tie))) << row[i];
    }
  }
}

TEST(QuantizeNvfp4, AZeroBlockScaleGivesZeroCodes) {
  // amax / 6 / tensor_scale is below half of the smallest E4M3 value, 2^-10.
  std::vector<float> row(16, -1e-3f);
  uint8_t codes[8];
  uint8_t scale = 0xEE;
  ASSERT_TRUE(
      quantize(MOE4J_FORMAT_NVFP4, 1, 16, MOE4J_F32, row.data(), 1.0f, codes, &scale).is_ok());
  EXPECT_EQ(scale, 0);
  for (const uint8_t byte : codes) EXPECT_EQ(byte, 0);
}

TEST(QuantizeNvfp4, SaturatesAboveWhatTheTensorScaleCovers) {
  std::vector<float> row(16, 1e6f);
  uint8_t codes[8];
  uint8_t scale = 0;
  ASSERT_TRUE(
      quantize(MOE4J_FORMAT_NVFP4, 1, 16, MOE4J_F32, row.data(), 1.0f, codes, &scale).is_ok());
  EXPECT_EQ(scale, 0x7E);
  for (const uint8_t byte : codes) EXPECT_EQ(byte, 0x77);
}

TEST(QuantizeMx, AcceptsTheLargestFiniteValues) {
  const std::vector<float> row(32, -std::numeric_limits<float>::max());
  uint8_t codes[32];
  uint8_t scale = 0;
  ASSERT_TRUE(
      quantize(MOE4J_FORMAT_MXFP4, 1, 32, MOE4J_F32, row.data(), 1.0f, codes, &scale).is_ok());
  EXPECT_EQ(scale, 126 + 127);
  EXPECT_EQ(codes[0], 0xEE) << "-4 * 2^126 is nearest";
  ASSERT_TRUE(
      quantize(MOE4J_FORMAT_MXFP8, 1, 32, MOE4J_F32, row.data(), 1.0f, codes, &scale).is_ok());
  EXPECT_EQ(scale, 120 + 127);
  EXPECT_EQ(codes[0], 0xF8) << "-256 * 2^120 is nearest";
}

TEST(QuantizeFp8PerToken, TakesTheNearestCodesOfTheRowsScale) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const auto magnitudes = test::e4m3_magnitudes();
  for (const float size : {1e-38f, 1.0f, 448.0f, 1e30f}) {
    std::vector<float> row(37);
    double amax = 0;
    for (float& value : row) {
      value = normal(random) * size;
      amax = std::max<double>(amax, std::fabs(value));
    }
    const float scale = token_scale(37, row.data());
    EXPECT_GE(448 * static_cast<double>(scale), amax);
    EXPECT_LT(224 * static_cast<double>(scale), std::max(amax, 448 * 0x1p-127));
    std::vector<float> values(37);
    fake_quantize_row(MOE4J_FORMAT_FP8_PER_TOKEN, 37, row.data(), scale, values.data());
    for (size_t i = 0; i < row.size(); ++i) {
      const double nearest =
          magnitudes[test::nearest_magnitude(magnitudes, std::fabs(row[i]) / scale)];
      EXPECT_EQ(values[i], std::copysign(nearest * scale, row[i])) << row[i];
    }
  }
  EXPECT_EQ(token_scale(2, std::vector<float>{0, -0.0f}.data()), 0x1p-127f);
  EXPECT_EQ(token_scale(2, std::vector<uint16_t>{0x43E0, 0x3F80}.data()), 1) << "448";
  EXPECT_TRUE(std::isnan(token_scale(2, std::vector<float>{1, INFINITY}.data())));
}

INSTANTIATE_TEST_SUITE_P(Formats, Quantize,
                         testing::Values(Case{MOE4J_FORMAT_NVFP4, 1.0f, 16, 4},
                                         Case{MOE4J_FORMAT_NVFP4, 0.0123f, 16, 4},
                                         Case{MOE4J_FORMAT_NVFP4, 3.7e-5f, 16, 4},
                                         Case{MOE4J_FORMAT_MXFP4, 1.0f, 32, 4},
                                         Case{MOE4J_FORMAT_MXFP8, 1.0f, 32, 8}),
                         [](const auto& info) {
                           return std::string(info.param.code_bits == 8 ? "MXFP8"
                                              : info.param.block == 16  ? "NVFP4"
                                                                        : "MXFP4") +
                                  "_" + std::to_string(info.index);
                         });

}  // namespace
}  // namespace moe4j
