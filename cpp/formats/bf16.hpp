// BF16: the upper half of an F32.
#pragma once

#include <cstdint>

#include "formats/bits.hpp"
#include "support/host_device.hpp"

namespace moe4j {

/** Exact. */
MOE4J_HOST_DEVICE inline float bf16_to_f32(uint16_t bits) {
  return bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/** To nearest, ties to even, overflowing to infinity; a NaN stays one (quiet, sign and payload
 *  kept as far as they fit). */
MOE4J_HOST_DEVICE inline uint16_t f32_to_bf16(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace moe4j
