// Division that rounds up.
#pragma once

#include <type_traits>

#include "support/host_device.hpp"

namespace moe4j {

/** The least whole number that is not below value / unit. The value is not negative. */
template <class Value, class Unit>
MOE4J_HOST_DEVICE constexpr std::common_type_t<Value, Unit> ceil_div(Value value, Unit unit) {
  return (value + unit - 1) / unit;
}

/** The least multiple of `unit` that is not below the value. */
template <class Value, class Unit>
MOE4J_HOST_DEVICE constexpr std::common_type_t<Value, Unit> round_up(Value value, Unit unit) {
  return ceil_div(value, unit) * unit;
}

}  // namespace moe4j
