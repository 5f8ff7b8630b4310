// Multiples of a unit.
#pragma once

#include <cstdint>

namespace moe4j {

/** The smallest multiple of `unit` that is not below `value`, which is not negative. */
constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace moe4j
