// What a device and its layers share.
#pragma once

#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <optional>

#include "cuda/launch_graphs.hpp"

namespace moe4j::cuda {

struct CudaContext {
  int32_t index = 0;
  CUcontext primary = nullptr;  // for DeviceGuard
  int32_t multiprocessors = 0;
  int32_t compute_capability = 0;  // 10 * major + minor
  int32_t max_experts = 0;  // of a layer, shared ones included: what the permutation can hold
  std::optional<LaunchGraphs> graphs;  // of an open device
  std::atomic<int64_t> live_bytes{0};
  std::atomic<int64_t> live_allocations{0};
  std::atomic<int64_t> live_layers{0};
  std::atomic<int64_t> launches{0};
  std::atomic<int64_t> routing_launches{0};
};

}  // namespace moe4j::cuda
