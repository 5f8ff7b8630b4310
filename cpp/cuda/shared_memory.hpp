// Dynamic shared memory beyond what every block gets.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>

#include "cuda/cuda_status.hpp"

namespace moe4j::cuda {

/**
 * Lets a kernel ask for up to `most` bytes of dynamic shared memory on the current device, or for
 * what that gives a block beside the kernel's static shared memory; `granted` is the smaller.
 */
inline Status allow_shared_memory(const void* kernel, int32_t most, int32_t* granted) {
  cudaFuncAttributes attributes;
  MOE4J_RETURN_IF_ERROR(
      cuda_status(cudaFuncGetAttributes(&attributes, kernel), "looking at a kernel"));
  int device = 0;
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaGetDevice(&device), "asking for the device"));
  int limit = 0;
  MOE4J_RETURN_IF_ERROR(
      cuda_status(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
                  "asking how much shared memory a block may have"));
  *granted = std::min(most, limit - static_cast<int32_t>(attributes.sharedSizeBytes));
  return cuda_status(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, *granted),
      "asking for shared memory");
}

}  // namespace moe4j::cuda
