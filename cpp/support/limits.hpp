// The sizes up to which the library works; moe4j.h promises them.
#pragma once

#include <cstdint>
#include <limits>

namespace moe4j {

inline constexpr int32_t kMaxExperts = 1024;
inline constexpr int32_t kMaxTopK = 32;
inline constexpr int32_t kMaxSize = 1 << 24;  // of H and of I
inline constexpr int64_t kMaxTokens = std::numeric_limits<int32_t>::max();

}  // namespace moe4j
