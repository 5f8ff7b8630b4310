// Values that all lanes of a warp have in common.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/**
 * Lane 0's `value`, for all lanes of a warp. Where it is the same in all of them anyway, the
 * compiler now knows: what follows from it (addresses of a stage, descriptors, barriers) is
 * computed once a warp, in registers and pipes of its own, and branches on it do not divide the
 * warp. Called by whole warps.
 */
__device__ __forceinline__ int32_t uniform(int32_t value) {
  return __shfl_sync(0xFFFFFFFFu, value, 0);
}

}  // namespace moe4j::cuda
