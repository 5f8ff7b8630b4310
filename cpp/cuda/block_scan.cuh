// Prefix sums by a whole block.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** Static shared memory of exclusive_scan(). */
inline constexpr int kScanBytes = 32 * static_cast<int>(sizeof(int32_t));

/**
 * Exclusive sums of values[0..count) in shared memory, the total in values[count]. Called by all
 * threads of a block of whole warps; begins and ends with a barrier.
 */
__device__ __forceinline__ void exclusive_scan(int32_t* values, int32_t count) {
  __shared__ int32_t warp_sums[kScanBytes / sizeof(int32_t)];
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const auto threads = static_cast<int32_t>(blockDim.x);
  const int32_t lane = thread % 32;
  int32_t carry = 0;
  for (int32_t base = 0; base < count; base += threads) {
    __syncthreads();
    const int32_t at = base + thread;
    const int32_t mine = at < count ? values[at] : 0;
    int32_t sum = mine;
#pragma unroll
    for (int32_t step = 1; step < 32; step *= 2) {
      const int32_t below = __shfl_up_sync(0xFFFFFFFFu, sum, step);
      if (lane >= step) sum += below;
    }
    if (lane == 31) warp_sums[thread / 32] = sum;
    __syncthreads();
    int32_t total = lane < threads / 32 ? warp_sums[lane] : 0;
    const int32_t lower = __reduce_add_sync(0xFFFFFFFFu, lane < thread / 32 ? total : 0);
    total = __reduce_add_sync(0xFFFFFFFFu, total);
    if (at < count) values[at] = carry + lower + sum - mine;
    carry += total;
  }
  if (thread == 0) values[count] = carry;
  __syncthreads();
}

}  // namespace moe4j::cuda
