// Values that all lanes of a warp have in common.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/**
 * `value`, which is the same in all lanes of a warp: so the compiler knows. What follows from it
 * (addresses of a stage, descriptors, barriers) is then computed once a warp, in registers and
 * pipes of its own, and branches on it do not divide the warp. Called by whole warps.
 */
__device__ __forceinline__ int32_t uniform(int32_t value) {
  return __shfl_sync(0xFFFFFFFFu, value, 0);
}

}  // namespace moe4j::cuda
