// Shared memory on Hopper.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/** What a block takes besides what it asks for: the driver's kilobyte, and exclusive_scan()'s. */
inline constexpr int32_t kSm90BlockShared = 1024 + 128;

}  // namespace moe4j::cuda
