// Where a kernel reads the tokens of a tile: a pointer each, in registers.
//
// Everything is in an unnamed namespace: see kernels.hpp.
#pragma once

#include <cstdint>

namespace moe4j {
namespace {

template <int kTokens>
struct TokenRows {
  const uint8_t* row[kTokens];

  /** `rows` [kTokens], from byte `offset` of each on. */
  TokenRows(const void* const* rows, int64_t offset) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) row[t] = static_cast<const uint8_t*>(rows[t]) + offset;
  }

  void advance(int64_t bytes) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) row[t] += bytes;
  }
};

}  // namespace
}  // namespace moe4j
