// Errors of the CUDA runtime as a Status.
#pragma once

#include <cuda_runtime_api.h>

#include "support/message.hpp"
#include "support/status.hpp"

namespace moe4j::cuda {

/** The runtime remembers a thread's last error: the check after the next launch is not to find it.
 */
inline Status cuda_status(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return Status::ok();
  cudaGetLastError();
  return failure(error == cudaErrorMemoryAllocation ? MOE4J_OUT_OF_MEMORY : MOE4J_DEVICE_ERROR,
                 "CUDA: %s failed: %s", doing, cudaGetErrorString(error));
}

}  // namespace moe4j::cuda
