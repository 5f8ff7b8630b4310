// Walking a ring of stages.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** Position in a ring: the stage, and the parity of its barriers' phase. */
template <int kStages>
struct RingPosition {
  uint32_t stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/** The same in a ring whose number of stages is known when it runs. */
struct DynamicRingPosition {
  uint32_t stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance(uint32_t stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

}  // namespace moe4j::cuda
