// Which tokens chose each expert, found out by every block for itself in shared memory.
//
// With few tokens this takes less time than waiting for a kernel that does it once for all: weights
// can be on their way as soon as a block knows the experts. A bit for each token and expert gives
// the order of permute.cu, by expert and then by token: a row's number is the number of bits below
// its own, and a bit that is set twice is an expert that a token named twice.
#pragma once

#include <cstdint>

#include "cuda/block_scan.cuh"
#include "cuda/gemm/narrow_limits.hpp"
#include "cuda/routing.cuh"

namespace moe4j::cuda {

class TokenTable {
 public:
  /**
   * `shared` has narrow_table_bytes(). Experts' tokens are cut into tiles of at most max_tokens.
   * Called by all threads of the block, whose every instruction is on the way to its first copy.
   */
  __device__ __forceinline__ TokenTable(int32_t* shared, const Routing& routing, int max_tokens)
      : bits_(reinterpret_cast<uint32_t*>(shared)),
        experts_(routing.experts()),
        words_(ceil_div(static_cast<int32_t>(routing.tokens), 32)) {
    offsets_ = shared + words_ * experts_;
    first_tile_ = offsets_ + experts_ + 1;
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const auto threads = static_cast<int32_t>(blockDim.x);
    const int32_t slots = routing.slots();
    const int32_t pairs = static_cast<int32_t>(routing.tokens) * slots;
    // pair / slots is the high word of 2 * pair * inverse: pairs and slots are few.
    const uint32_t inverse = 0x80000000u / static_cast<uint32_t>(slots) + 1;
    constexpr int kInFlight = 4;
    int32_t token[kInFlight];
    int32_t expert[kInFlight];
    const int32_t* const words = id_words(routing);
    const auto load = [&](int32_t first) {
      int32_t word[kInFlight];
      int32_t slot[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {  // without branches: all loads are on their way at once
        const int32_t pair = first + i * threads;
        token[i] = static_cast<int32_t>(__umulhi(2 * static_cast<uint32_t>(pair), inverse));
        slot[i] = pair < pairs ? pair - token[i] * slots : -1;
        const bool is_routed = slot[i] >= 0 && slot[i] < routing.top_k;
        word[i] = is_routed ? words[token[i] * routing.top_k + slot[i]] : 0;
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int32_t id = id_in(routing, word[i]);
        expert[i] = slot[i] < 0               ? -1
                    : slot[i] < routing.top_k ? local_expert(routing, id)
                                              : shared_expert(routing, slot[i]);
      }
    };
    load(thread);
    for (int32_t i = thread; i < words_ * experts_; i += threads) bits_[i] = 0;
    __syncthreads();
    for (int32_t first = thread;;) {
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        if (expert[i] >= 0) atomicOr(word(token[i] >> 5, expert[i]), 1u << (token[i] & 31));
      }
      first += kInFlight * threads;
      if (first >= pairs) break;
      load(first);
    }
    __syncthreads();
    // One scan for both sums: there are fewer than 2^15 rows, and no more tiles.
    for (int32_t e = thread; e < experts_; e += threads) {
      int32_t count = 0;
      for (int32_t w = 0; w < words_; ++w) count += __popc(*word(w, e));
      offsets_[e] = (count + max_tokens - 1) / max_tokens << 16 | count;
    }
    exclusive_scan(offsets_, experts_);
    for (int32_t e = thread; e <= experts_; e += threads) {
      const int32_t both = offsets_[e];
      offsets_[e] = both & 0xFFFF;
      first_tile_[e] = both >> 16;
    }
    __syncthreads();
  }

  /** [experts + 1] first row of each expert, in shared memory. */
  __device__ __forceinline__ const int32_t* offsets() const { return offsets_; }

  /** [experts + 1] first tile of each expert, in shared memory. */
  __device__ __forceinline__ const int32_t* first_tile() const { return first_tile_; }

  /** The token of an expert's row `index`. */
  __device__ __forceinline__ int32_t token(int32_t expert, int32_t index) const {
    int32_t w = 0;
    uint32_t bits = *word(0, expert);
    for (int32_t count = __popc(bits); index >= count; count = __popc(bits)) {
      index -= count;
      bits = *word(++w, expert);
    }
    for (; index > 0; --index) bits &= bits - 1;
    return w * 32 + __ffs(static_cast<int32_t>(bits)) - 1;
  }

  /** The row of a token's slot, -1 if it contributes nothing. */
  __device__ int32_t row(const Routing& routing, int32_t token, int32_t slot) const {
    const int32_t expert = slot_expert(routing, token, slot);
    if (expert < 0) return -1;
    int32_t row = offsets_[expert];
    for (int32_t w = 0; w < token / 32; ++w) row += __popc(*word(w, expert));
    return row + __popc(*word(token / 32, expert) & ((1u << (token % 32)) - 1));
  }

 private:
  __device__ __forceinline__ uint32_t* word(int32_t w, int32_t expert) const {
    return bits_ + w * experts_ + expert;
  }

  uint32_t* bits_;  // [word][experts], bit t of word w: token 32 w + t
  int32_t* offsets_;
  int32_t* first_tile_;
  int32_t experts_;
  int32_t words_;
};

}  // namespace moe4j::cuda
