// Which part of a grouped GEMM a block works on, decided on the device from the row offsets of the
// experts: the host never learns them.
//
// An expert with c tokens has ceil(c / max_tokens) token tiles of nearly equal size (TokenTiles).
// Work items are ordered by expert, row tile, token tile: blocks that run at the same time share
// weights in L2.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/block_scan.cuh"
#include "support/round_up.hpp"

namespace moe4j::cuda {

/** One work item: some rows of the weights times some tokens of one expert. */
struct Tile {
  int32_t expert;
  int32_t row_tile;
  int32_t row_begin;      // of the permutation
  int32_t storage_begin;  // the same row in TiledRows, a multiple of 8
  int32_t row_count;
};

class Schedule {
 public:
  static constexpr int32_t kTokenStep = 8;  // tiles begin at multiples of it

  /** `shared` has schedule_bytes(). Called by all threads of the block. */
  __device__ Schedule(int32_t* shared, const int32_t* offsets, int32_t experts, int32_t row_tiles,
                      const TokenTiles tiles)
      : first_tile_(shared), offsets_(offsets), experts_(experts), row_tiles_(row_tiles) {
    for (int32_t e = static_cast<int32_t>(threadIdx.x); e < experts;
         e += static_cast<int32_t>(blockDim.x)) {
      const int32_t count = offsets[e + 1] - offsets[e];
      const int32_t parts = (count + tiles.max_tokens - 1) / tiles.max_tokens;
      shared[e] = count > tiles.above * parts && count <= tiles.up_to * parts ? parts : 0;
    }
    exclusive_scan(shared, experts);
    size_ = shared[experts] * row_tiles;
  }

  /** Of tiles that were counted: first_tile and offsets are [experts + 1]. */
  __device__ __forceinline__ Schedule(const int32_t* first_tile, const int32_t* offsets,
                                      int32_t experts, int32_t row_tiles)
      : first_tile_(first_tile),
        offsets_(offsets),
        experts_(experts),
        row_tiles_(row_tiles),
        size_(first_tile[experts] * row_tiles) {}

  /** The same token tiles over other rows. */
  __device__ __forceinline__ Schedule(const Schedule& other, int32_t row_tiles)
      : first_tile_(other.first_tile_),
        offsets_(other.offsets_),
        experts_(other.experts_),
        row_tiles_(row_tiles),
        size_(first_tile_[experts_] * row_tiles) {}

  /** How many tiles an expert has. */
  __device__ __forceinline__ int32_t tiles_of(int32_t expert) const {
    return (first_tile_[expert + 1] - first_tile_[expert]) * row_tiles_;
  }

  __device__ __forceinline__ int32_t size() const { return size_; }

  /** kFewTokens: most experts have one token tile, which is found without dividing. */
  template <bool kFewTokens = false>
  __device__ __forceinline__ Tile tile(int32_t index) const {
    const int32_t position = index / row_tiles_;
    int32_t low = 0;
    int32_t high = experts_ - 1;
    while (low < high) {  // the last expert whose first tile is not after `position`
      const int32_t middle = (low + high + 1) / 2;
      if (first_tile_[middle] <= position) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    const int32_t tiles = first_tile_[low + 1] - first_tile_[low];
    const int32_t item = index - first_tile_[low] * row_tiles_;
    const int32_t begin = offsets_[low];
    const int32_t count = offsets_[low + 1] - begin;
    if (kFewTokens && tiles == 1) return {low, item, begin, storage_begin(begin, low), count};
    const int32_t step = tiles * kTokenStep;
    const int32_t each = ceil_div(count, step) * kTokenStep;
    const int32_t first = item % tiles * each;
    return {low, item / tiles, begin + first, storage_begin(begin, low) + first,
            min(each, count - first)};
  }

 private:
  const int32_t* first_tile_;  // [experts + 1]
  const int32_t* offsets_;
  int32_t experts_;
  int32_t row_tiles_;
  int32_t size_;
};

}  // namespace moe4j::cuda
