#include "cuda/dequant/packed_words.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

#include "formats/bf16.hpp"
#include "formats/e2m1.hpp"

namespace moe4j::cuda {
namespace {

/** BF16 number `half` (0 low, 1 high) of a register. */
float value(uint32_t reg, int half) {
  return bf16_to_f32(static_cast<uint16_t>(reg >> (16 * half)));
}

TEST(PackedWords, CodesComeBackAsTheirValuesTimesTwoToMinus126) {
  std::mt19937 random(1);
  for (int n = 0; n < 100'000; ++n) {
    const auto codes = static_cast<uint32_t>(random());
    uint32_t registers[4] = {};
    for (int i = 0; i < 8; ++i) {
      const uint32_t code = codes >> (4 * i) & 15;
      registers[i / 2] |= ((code & 8) << 12 | (code & 7) << 6) << (i % 2 * 16);
    }
    uint32_t unpacked[4];
    unpack_fp4(pack_fp4(registers), unpacked);
    for (int i = 0; i < 8; ++i) {
      const float expected =
          std::ldexp(e2m1_decode(static_cast<uint8_t>(codes >> (4 * i) & 15)), -126);
      ASSERT_EQ(value(unpacked[i / 2], i % 2), expected) << "code " << i << " of " << codes;
      ASSERT_EQ(std::signbit(value(unpacked[i / 2], i % 2)), std::signbit(expected));
    }
  }
}

template <int kFormat, class Decode>
void scales_come_back(const Decode& decode) {
  std::mt19937 random(2);
  for (int n = 0; n < 100'000; ++n) {
    const auto bytes = static_cast<uint32_t>(random());
    const uint32_t word = pack_scales<kFormat>(bytes);
    ASSERT_EQ(scale_bytes<kFormat>(word), bytes);
    const std::array<uint32_t, 2> steps = {unpack_scales<kFormat, 0>(word),
                                           unpack_scales<kFormat, 1>(word)};
    for (int i = 0; i < 4; ++i) {
      const float expected = decode(bytes >> (8 * i) & 0xFF);
      if (std::isfinite(expected)) {
        ASSERT_EQ(value(steps[i % 2], i / 2), expected) << "scale " << i << " of " << bytes;
      }
    }
  }
}

TEST(PackedWords, Nvfp4ScalesAreE5m3) {
  scales_come_back<MOE4J_FORMAT_NVFP4>([](uint32_t byte) {
    return std::ldexp(1.0f + static_cast<float>(byte & 7) / 8, static_cast<int>(byte >> 3) + 97);
  });
}

TEST(PackedWords, Mxfp4ScalesAreExponents) {
  scales_come_back<MOE4J_FORMAT_MXFP4>([](uint32_t byte) {
    return byte == 0 ? 0.0f : std::ldexp(1.0f, static_cast<int>(byte) - 127);
  });
}

}  // namespace
}  // namespace moe4j::cuda
