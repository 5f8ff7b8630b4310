// Clusters of Hopper: blocks that run at the same time and read each other's shared memory.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ uint32_t cluster_size() {
  uint32_t size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}

/**
 * All threads of all blocks pass both; after the second, barriers that were initialized, and fenced
 * (mbarrier_init_fence()), before the first can be used by other blocks. Nothing else is ordered: a
 * release would be a MEMBAR.ALL.GPU.
 */
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

/** What this block calls `address`, in the block of rank `rank`. */
__device__ __forceinline__ uint32_t cluster_address(uint32_t address, uint32_t rank) {
  uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}

/** Sends two floats to another block's shared memory; they count as 8 bytes on its `barrier`. */
__device__ __forceinline__ void store_cluster_async(uint32_t address, float first, float second,
                                                    uint32_t barrier) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(
          address),
      "f"(first), "f"(second), "r"(barrier)
      : "memory");
}

}  // namespace moe4j::cuda
