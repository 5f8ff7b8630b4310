// Counters in memory by which blocks of one kernel tell each other that data is there.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** Counts one up; whoever sees it sees what this thread wrote, or saw, before. */
__device__ __forceinline__ void count_release(int32_t* counter) {
  asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(counter) : "memory");
}

/** Waits until the counter has reached `count`. */
__device__ __forceinline__ void wait_for_count(const int32_t* counter, int32_t count) {
  int32_t seen;
  do {
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
  } while (seen < count);
}

/**
 * Orders this thread's accesses to global memory, before and after, of which one kind is the copy
 * engine's. (Without `.global` it would be a MEMBAR.ALL.GPU as well, for shared memory's sake.)
 */
__device__ __forceinline__ void fence_proxy_async_global() {
  asm volatile("fence.proxy.async.global;" ::: "memory");
}

}  // namespace moe4j::cuda
