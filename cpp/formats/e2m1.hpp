// E2M1 (FP4): 0 .5 1 1.5 2 3 4 6 and their negatives; code = sign << 3 | index of the magnitude.
#pragma once

#include <cstdint>

#include "formats/bits.hpp"
#include "support/host_device.hpp"

namespace moe4j {

inline constexpr float kE2m1Max = 6.0f;

/**
 * The nearest code, ties to the even one, saturating; a NaN gives +6, as `cvt.rn.satfinite` does.
 * `Real` is float or double: a quotient computed in double keeps its rounding decision exact.
 */
template <class Real>
MOE4J_HOST_DEVICE inline uint8_t e2m1_encode(Real value) {
  if (value != value) return 7;
  const bool negative = bit_cast<typename IeeeLayout<Real>::Bits>(value) >> (sizeof(Real) * 8 - 1);
  const Real magnitude = negative ? -value : value;
  // One comparison per midpoint between neighbours; the tie belongs to the even code.
  const int index = (magnitude > Real(0.25)) + (magnitude >= Real(0.75)) +
                    (magnitude > Real(1.25)) + (magnitude >= Real(1.75)) + (magnitude > Real(2.5)) +
                    (magnitude >= Real(3.5)) + (magnitude > Real(5));
  return static_cast<uint8_t>((negative ? 8 : 0) | index);
}

/** The value of the low four bits of `code`. */
MOE4J_HOST_DEVICE inline float e2m1_decode(uint8_t code) {
  // Magnitudes 0 and .5 are the subnormals: mantissa * .5. The others are (2 + m) * 2^(e - 2).
  const int exponent = (code >> 1) & 3;
  const int mantissa = code & 1;
  const float magnitude = exponent == 0 ? 0.5f * static_cast<float>(mantissa)
                                        : 0.25f * static_cast<float>((2 + mantissa) << exponent);
  return (code & 8) != 0 ? -magnitude : magnitude;
}

/** Two codes share a byte: the low nibble is the even index along K. */
MOE4J_HOST_DEVICE inline uint8_t e2m1_pack(uint8_t even, uint8_t odd) {
  return static_cast<uint8_t>(even | (odd << 4));
}

/** The code at `index` along K of a packed row. */
MOE4J_HOST_DEVICE inline uint8_t e2m1_unpack(const uint8_t* row, int64_t index) {
  return static_cast<uint8_t>((row[index >> 1] >> ((index & 1) * 4)) & 0xF);
}

}  // namespace moe4j
