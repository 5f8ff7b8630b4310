// What the narrow kernels can hold.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"

namespace moe4j::cuda {

inline constexpr int kNarrowTokens = 256;   // of a launch
inline constexpr int kNarrowExperts = 512;  // whose table leaves the ring its least stages

inline constexpr int32_t kNarrowLeastStages = 2;

/** Shared memory of a TokenTable: a bit for each token and expert, first rows and first tiles. */
MOE4J_HOST_DEVICE constexpr int32_t narrow_table_bytes(int64_t tokens, int32_t experts) {
  return ceil_div(tokens, 32) * experts * 4 + 2 * schedule_bytes(experts);
}

}  // namespace moe4j::cuda
