// Shared memory on Hopper.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** Of a multiprocessor. */
inline constexpr int32_t kSm90Shared = 228 * 1024;

/** What a block takes besides what it asks for: the driver's kilobyte, and exclusive_scan()'s. */
inline constexpr int32_t kSm90BlockShared = 1024 + 128;

}  // namespace moe4j::cuda
