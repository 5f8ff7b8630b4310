// What the decode kernels can hold.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

inline constexpr int kDecodeTokens = 8;   // columns of mma.sync
inline constexpr int kDecodePairs = 256;  // (token, slot), the most that a block lists
inline constexpr int kDecodeWarps = 8;
inline constexpr int kDecodeThreads = kDecodeWarps * 32;

/** Lets two blocks share a multiprocessor of Hopper. */
inline constexpr int32_t kMaxDecodeShared = 96 * 1024;

/** Shared memory for the tokens of the first kernel and a row of zeros, padded against bank
 *  conflicts. */
constexpr int32_t decode_shared_bytes(int64_t tokens, int32_t hidden) {
  return (static_cast<int32_t>(tokens) + 1) * (hidden + 8) * 2;
}

}  // namespace moe4j::cuda
