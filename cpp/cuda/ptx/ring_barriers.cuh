// The barriers of a ring of stages in shared memory, between who fills it and who uses it.
#pragma once

#include <cstdint>

#include "cuda/ptx/mbarrier.cuh"

namespace moe4j::cuda {

/** Two barriers a stage: full, whose phase ends when it has landed, and empty, when all are done.
 */
template <int kStages>
struct RingBarriers {
  static constexpr int kBytes = 2 * kStages * 8;

  uint32_t base;  // shared address of kBytes, aligned to 8

  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return base + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const {
    return base + (kStages + stage) * 8;
  }

  /** Called by one thread before all others see the barriers. */
  __device__ __forceinline__ void initialize(uint32_t producers, uint32_t consumers) const {
    for (uint32_t s = 0; s < kStages; ++s) {
      mbarrier_init(full(s), producers);
      mbarrier_init(empty(s), consumers);
    }
    mbarrier_init_fence();
  }
};

}  // namespace moe4j::cuda
