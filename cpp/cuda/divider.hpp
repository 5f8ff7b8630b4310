// Division by a number that the host knows. The machine has no instruction for it, and what the
// compiler makes keeps a lone warp waiting for a tenth of a microsecond.
#pragma once

#include <cstdint>

#include "support/host_device.hpp"

namespace moe4j::cuda {

/** Divides n >= 0 by a divisor > 0 where (n + 1) * divisor < 2^32. */
class Divider {
 public:
  explicit constexpr Divider(int32_t divisor)
      : reciprocal_(0xFFFFFFFFu / static_cast<uint32_t>(divisor)) {}

  MOE4J_HOST_DEVICE constexpr int32_t divide(int32_t n) const {
    return static_cast<int32_t>(uint64_t{static_cast<uint32_t>(n) + 1} * reciprocal_ >> 32);
  }

 private:
  uint32_t reciprocal_;
};

}  // namespace moe4j::cuda
