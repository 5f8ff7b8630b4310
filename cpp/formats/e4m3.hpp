// E4M3 (FP8, "fn"): sign, 4 exponent bits of bias 7, 3 mantissa bits; no infinities, largest value
// 448, NaN is 0x7F and 0xFF, smallest subnormal 2^-9.
#pragma once

#include <cstdint>

#include "formats/bits.hpp"
#include "support/host_device.hpp"

namespace moe4j {

inline constexpr float kE4m3Max = 448.0f;

MOE4J_HOST_DEVICE inline bool e4m3_is_nan(uint8_t code) { return (code & 0x7F) == 0x7F; }

/**
 * The nearest code, ties to the even one, saturating; a NaN gives 0x7F, as `cvt.rn.satfinite` does.
 * `Real` is float or double: a quotient computed in double keeps its rounding decision exact.
 */
template <class Real>
MOE4J_HOST_DEVICE inline uint8_t e4m3_encode(Real value) {
  using Layout = IeeeLayout<Real>;
  using Bits = typename Layout::Bits;
  constexpr int kDropped = Layout::kMantissaBits - 3;
  constexpr Bits kBias = static_cast<Bits>(Layout::kExponentBias - 7) << 3;

  if (value != value) return 0x7F;
  const Bits bits = bit_cast<Bits>(value);
  const auto sign = static_cast<uint8_t>((bits >> (sizeof(Real) * 8 - 1)) << 7);
  const Real magnitude = sign != 0 ? -value : value;
  if (magnitude >= Real(kE4m3Max)) return static_cast<uint8_t>(sign | 0x7E);
  if (magnitude < Real(1.0 / 64)) {
    // Subnormal: a multiple of 2^-9. Adding the number whose last place is 2^-9 rounds to one; the
    // carry into code 8 is the smallest normal number, as it should be.
    constexpr Real kLastPlace = static_cast<Real>(Bits{1} << (Layout::kMantissaBits - 9));
    const Bits rounded = bit_cast<Bits>(magnitude + kLastPlace) - bit_cast<Bits>(kLastPlace);
    return static_cast<uint8_t>(sign | rounded);
  }
  const Bits positive = bit_cast<Bits>(magnitude);
  const Bits half_less_one = (Bits{1} << (kDropped - 1)) - 1;
  const Bits rounded = (positive + half_less_one + ((positive >> kDropped) & 1)) >> kDropped;
  return static_cast<uint8_t>(sign | (rounded - kBias));
}

MOE4J_HOST_DEVICE inline float e4m3_decode(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24;
  const uint32_t magnitude = code & 0x7F;
  if (magnitude == 0x7F) return bit_cast<float>(sign | 0x7FC00000u);
  if (magnitude < 8) {
    const float value = static_cast<float>(magnitude) * (1.0f / 512);
    return sign != 0 ? -value : value;
  }
  return bit_cast<float>(sign | ((magnitude << 20) + ((127u - 7u) << 23)));
}

}  // namespace moe4j
