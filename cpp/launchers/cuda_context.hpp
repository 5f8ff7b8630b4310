// What a device and its layers share.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <optional>

#include "cuda/launch_graphs.hpp"
#include "launchers/device_counts.hpp"

namespace moe4j::cuda {

struct CudaContext {
  int32_t index = 0;
  CUcontext primary = nullptr;  // for DeviceGuard
  int32_t multiprocessors = 0;
  int32_t compute_capability = 0;  // 10 * major + minor
  int32_t max_experts = 0;  // of a layer, shared ones included: what the permutation can hold
  std::optional<LaunchGraphs> graphs;  // of an open device
  DeviceCounts counts;
};

}  // namespace moe4j::cuda
