// What the narrow kernels can hold.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"

namespace moe4j::cuda {

inline constexpr int kNarrowTokens = 256;   // of a launch
inline constexpr int kNarrowExperts = 512;  // whose table leaves the ring its shared memory

/** Shared memory of a TokenTable: a bit for each token and expert, and offsets. */
MOE4J_HOST_DEVICE constexpr int32_t table_bytes(int64_t tokens, int32_t experts) {
  return ((ceil_div(tokens, 32) + 1) * experts + 1) * 4;
}

/** What the table and the schedule of a block need. */
MOE4J_HOST_DEVICE constexpr int32_t narrow_table_bytes(int64_t tokens, int32_t experts) {
  return table_bytes(tokens, experts) + schedule_bytes(experts);
}

}  // namespace moe4j::cuda
