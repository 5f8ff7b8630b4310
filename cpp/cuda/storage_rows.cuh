// From a token to its rows in the order of the permutation.
#pragma once

#include <cstdint>

namespace moe4j::cuda {

/**
 * Calls put(row) for each row of TiledRows that a token has. `storage` is its part of
 * Permutation::pair_storage. By a whole warp, all of whose threads get the same rows.
 */
template <class Put>
__device__ __forceinline__ void for_each_storage_row(const int32_t* storage, int32_t slots,
                                                     int32_t lane, const Put& put) {
  for (int32_t first = 0; first < slots; first += 32) {
    const int32_t mine = first + lane < slots ? storage[first + lane] : -1;
    for (int32_t s = 0; s < min(32, slots - first); ++s) {
      const int32_t row = __shfl_sync(0xFFFFFFFFu, mine, s);
      if (row >= 0) put(row);
    }
  }
}

}  // namespace moe4j::cuda
