// The bits of floating-point numbers. C++17 has no std::bit_cast, and device code no std at all.
#pragma once

#include <cstdint>
#include <cstring>

#include "support/host_device.hpp"

namespace moe4j {

template <class To, class From>
MOE4J_HOST_DEVICE inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

/** The layout of an IEEE number: what encoders need to round from F32 as well as from F64. */
template <class Real>
struct IeeeLayout;

template <>
struct IeeeLayout<float> {
  using Bits = uint32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr int kExponentBias = 127;
};

template <>
struct IeeeLayout<double> {
  using Bits = uint64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr int kExponentBias = 1023;
};

}  // namespace moe4j
