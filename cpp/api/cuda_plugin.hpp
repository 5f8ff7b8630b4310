// libmoe4j_cuda.so, found beside libmoe4j.so and loaded when somebody first asks for CUDA.
#pragma once

#include <cstdint>
#include <memory>

#include "launchers/device.hpp"
#include "support/status.hpp"

namespace moe4j {

/** How many CUDA devices there are. Where there is none the status is OK and its message says why.
 */
Status cuda_device_count(int32_t* count) noexcept;

Status open_cuda_device(int32_t index, std::unique_ptr<Device>* device) noexcept;

}  // namespace moe4j
