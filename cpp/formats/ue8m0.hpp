// UE8M0: a power of two, 2^(b - 127); 0xFF is NaN. The block scale of the MX formats.
#pragma once

#include <cstdint>

#include "formats/bits.hpp"
#include "support/host_device.hpp"

namespace moe4j {

inline constexpr uint8_t kUe8m0NaN = 0xFF;

/** Exact; 2^-127 is a subnormal F32. */
MOE4J_HOST_DEVICE inline float ue8m0_decode(uint8_t code) {
  if (code == 0) return bit_cast<float>(0x00400000u);
  if (code == kUe8m0NaN) return bit_cast<float>(0x7FC00000u);
  return bit_cast<float>(static_cast<uint32_t>(code) << 23);
}

/**
 * The smallest power of two with amax <= max_code * 2^(b - 127): nothing saturates. `amax` and
 * `max_code` are finite, not negative, and max_code is at least 1.
 */
MOE4J_HOST_DEVICE inline uint8_t ue8m0_smallest_scale(float amax, float max_code) {
  // In double neither number is subnormal and exponents can be read from the bits.
  constexpr int kMantissaBits = IeeeLayout<double>::kMantissaBits;
  constexpr uint64_t kMantissa = (uint64_t{1} << kMantissaBits) - 1;
  const uint64_t a = bit_cast<uint64_t>(static_cast<double>(amax));
  const uint64_t m = bit_cast<uint64_t>(static_cast<double>(max_code));
  const int exponents = static_cast<int>(a >> kMantissaBits) - static_cast<int>(m >> kMantissaBits);
  const int scale = exponents + ((a & kMantissa) > (m & kMantissa) ? 1 : 0) + 127;
  return static_cast<uint8_t>(scale < 0 ? 0 : scale);
}

}  // namespace moe4j
