// What makes a launch acceptable, before any tensor is read.
#pragma once

#include "launchers/device.hpp"
#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

/**
 * Checks a launch of a sealed layer: enums, combinations, pointers, alignment, sizes, the
 * workspace, and that nothing written overlaps anything else. Allocates nothing unless there is an
 * error to describe.
 */
Status check_launch(const Layer& layer, int32_t device_kind,
                    const moe4j_launch_args& args) noexcept;

}  // namespace moe4j
