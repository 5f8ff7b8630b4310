// What a launcher needs to know of an activation besides its formula.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/host_device.hpp"

namespace moe4j {

/** Whether GEMM1 has an up projection beside the gate's. */
MOE4J_HOST_DEVICE constexpr bool has_gate(int32_t activation) {
  return activation != MOE4J_RELU2 && activation != MOE4J_IDENTITY;
}

}  // namespace moe4j
