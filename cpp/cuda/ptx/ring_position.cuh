// Walking a ring of stages.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** Position in a ring: the stage, and the parity of its barriers' phase. */
struct DynamicRingPosition {
  uint32_t stage = 0;
  uint32_t parity = 0;
  /** In a ring whose number of stages is known when it runs. */
  __device__ __forceinline__ void advance(uint32_t stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/** The same in a ring whose number of stages the compiler knows. */
template <int kStages>
struct RingPosition : DynamicRingPosition {
  __device__ __forceinline__ void advance() { DynamicRingPosition::advance(kStages); }
};

}  // namespace moe4j::cuda
