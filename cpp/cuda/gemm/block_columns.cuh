// FP4 weights times few tokens, the codes unscaled: what the decode kernels of Hopper multiply
// with.
//
// Multiplying every code with its block scale costs as much as unpacking it. Few tokens leave
// columns of mma.sync empty, so kShare scale blocks of K share the accumulators instead: column
// token * kShare + i has what block i of a round contributes to the token, and is scaled once.
//
//   B, kShare = 4   columns  0   1   2   3 | 4   5   6   7          d[g][column] * scale[g][column]
//        block 0             x0  .   .   . | x0  .   .   .             summed over the columns
//        block 1             .   x1  .   . | .   x1  .   .             of a token
//        block 2             .   .   x2  . | .   .   x2  .
//        block 3             .   .   .   x3| .   .   .   x3
//                            token 0         token 1
//
// The dots are zeros. A lane has one column of B and so the tokens of one block in kShare: it loads
// these alone, and its registers for the other blocks stay zero.
//
// Unscaled codes are BF16 numbers 2^-126 too small. Tokens come times 2^64, which keeps products
// far from F32's subnormals for |x| > 2^-64; |x| >= 2^64 becomes infinite.
#pragma once

#include <cstdint>

#include "cuda/dequant/fragment.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/weight_layout.hpp"

namespace moe4j::cuda {

/** What tokens are multiplied with, and two of them as BF16. */
inline constexpr float kTokenScale = 18446744073709551616.0f;  // 2^64
inline constexpr uint32_t kTokenScaleBf16x2 = 0x5F805F80u;

/** Loads where `mine` equals kBlock and leaves the registers alone elsewhere. */
template <int kBlock>
__device__ __forceinline__ void load_shared_16_if(uint32_t* r, uint32_t address, uint32_t mine) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.eq.u32 p, %5, %6;\n"
      "@p ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];\n"
      "}\n"
      : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3])
      : "r"(address), "r"(mine), "n"(kBlock));
}

template <int kBlock>
__device__ __forceinline__ void load_shared_8_if(uint32_t* r, uint32_t address, uint32_t mine) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.eq.u32 p, %3, %4;\n"
      "@p ld.shared.v2.u32 {%0, %1}, [%2];\n"
      "}\n"
      : "+r"(r[0]), "+r"(r[1])
      : "r"(address), "r"(mine), "n"(kBlock));
}

/** One strip times up to 8 / kShare tokens, as one lane sees it; kFormat is NVFP4 or MXFP4. */
template <int kFormat, int kShare>
class BlockColumns {
 public:
  static constexpr int kTokens = 8 / kShare;
  static_assert(kShare == 4 || kShare == 1);

  /** Which token a lane's B register belongs to. */
  static __device__ __forceinline__ int token(int lane) { return (lane >> 2) / kShare; }

  /** `has_token`: whether there is a token token(lane); else the column is zero. */
  __device__ __forceinline__ BlockColumns(int lane, bool has_token)
      : mine_(has_token ? (lane >> 2) % kShare : kShare), lane_(lane) {}

  /**
   * Adds the product of `kBlocks` tiles: `tile` is the first in shared memory, `tokens` the address
   * of token(lane)'s elements of the same K, in fragment order.
   */
  template <int kBlocks>
  __device__ __forceinline__ void multiply(const uint8_t* tile, int strip, uint32_t tokens) {
    const uint8_t* codes = tile + Place::codes_offset(strip, lane_);
    const uint8_t* scales = tile + Place::scales_offset(strip, lane_);
    // kShare = 4: columns of odd lanes are of NVFP4's second word.
    if (kShare == 4 && kNvfp4) scales += (lane_ & 1) * 4;
    tokens += static_cast<uint32_t>(lane_ & 3) * 32;
    uint32_t b[2][8] = {};
    load_tokens<0>(b[0], tokens);
    float d[4];
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      if (i + 1 < kBlocks) {
        const uint32_t next = tokens + static_cast<uint32_t>(i + 1) * 128;
        i % 2 == 0 ? load_tokens<1>(b[1], next) : load_tokens<0>(b[0], next);
      }
      const uint4 words = *reinterpret_cast<const uint4*>(codes + i * kTileBytes);
      const Scales scale = load_scales(scales, i, kBlocks);
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        uint32_t a[4];
        unpack_fp4(step == 0 ? words.x : step == 1 ? words.y : step == 2 ? words.z : words.w, a);
        const int in_round = (i * 4 + step) % kRoundSteps;
        const uint32_t* const k16 = b[i % 2] + step * 2;
        in_round == 0 ? mma_m16n8k16_first(d, a, k16[0], k16[1])
                      : mma_m16n8k16(d, a, k16[0], k16[1]);
        if (in_round == kRoundSteps - 1 || (i == kBlocks - 1 && step == 3)) add(d, scale, step);
      }
    }
  }

  /** Tokens of which a lane has results, and the first of them. */
  static constexpr int kLaneTokens = kShare == 1 ? 2 : 1;
  static __device__ __forceinline__ int first_token(int lane) {
    return kShare == 1 ? (lane & 3) * 2 : (lane & 3) / 2;
  }

  /**
   * The sums, without kTokenScale: rows g of kLaneTokens tokens, then rows g + 8. All lanes call
   * it; two of kShare = 4 get the same.
   */
  __device__ __forceinline__ void finish(float (&results)[2 * kLaneTokens]) const {
#pragma unroll
    for (int i = 0; i < 2 * kLaneTokens; ++i) {
      results[i] = total_[i];
      if (kShare == 4) results[i] += __shfl_xor_sync(0xFFFFFFFFu, total_[i], 1);
      results[i] *= 1.0f / kTokenScale;
    }
  }

 private:
  using Place = StripPlace<kFormat>;
  static constexpr int kTileBytes = Place::kTileBytes;
  static constexpr bool kNvfp4 = kFormat == MOE4J_FORMAT_NVFP4;
  static constexpr int kRoundSteps = kShare * (kNvfp4 ? 1 : 2);  // of 16 K
  using Scales = uint2;

  /** A tile's tokens; kParity: whether the tile is the second of a round. */
  template <int kParity>
  __device__ __forceinline__ void load_tokens(uint32_t* b, uint32_t address) const {
    if constexpr (kShare == 1) {
      load_shared_16_if<0>(b, address, mine_);
      load_shared_16_if<0>(b + 4, address + 16, mine_);
    } else if constexpr (kNvfp4) {
      load_shared_8_if<0>(b, address, mine_);
      load_shared_8_if<1>(b + 2, address + 8, mine_);
      load_shared_8_if<2>(b + 4, address + 16, mine_);
      load_shared_8_if<3>(b + 6, address + 24, mine_);
    } else {
      load_shared_16_if<2 * kParity>(b, address, mine_);
      load_shared_16_if<2 * kParity + 1>(b + 4, address + 16, mine_);
    }
  }

  /** Tile i's scales; kShare = 4: x has those of d's four places. */
  __device__ __forceinline__ Scales load_scales(const uint8_t* scales, int i, int blocks) const {
    if constexpr (kNvfp4 && kShare == 1) {
      return *reinterpret_cast<const uint2*>(scales + i * kTileBytes);
    } else if constexpr (kNvfp4) {
      return {*reinterpret_cast<const uint32_t*>(scales + i * kTileBytes), 0};
    } else {
      // kShare = 4: columns of odd lanes are of the round's second tile, if it has one.
      int offset = i * kTileBytes;
      if (kShare == 4 && i % 2 == 1) offset -= (lane_ & 1) != 0 ? 0 : kTileBytes;
      return {*reinterpret_cast<const uint32_t*>(scales + offset), 0};
    }
  }

  /** Scale kIndex of a word as F32: what unpack_scales() has as BF16. */
  template <int kIndex>
  __device__ __forceinline__ float expand(uint32_t word) const {
    constexpr int kShift = 16 - 8 * kIndex;  // scale 2 is in place
    const uint32_t in_place = kShift >= 0 ? word << (kShift & 31) : word >> 8 | word << 24;
    constexpr uint32_t kMask = 0x00FF0000u << scale_shift(kFormat);
    if constexpr (!kNvfp4) return __uint_as_float(in_place & kMask);
    // (in_place & kMask) | exponent_: an instruction has one immediate operand.
    uint32_t scale;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(scale) : "r"(in_place), "n"(kMask), "r"(exponent_));
    return __uint_as_float(scale);
  }

  /** Step kStep of a word. */
  template <int kStep>
  __device__ __forceinline__ void add_rows(const float (&d)[4], uint32_t word) {
    const float scale_g = expand<kStep>(word);
    const float scale_g8 = expand<kStep + 2>(word);
    total_[0] += d[0] * scale_g;
    total_[1] += d[1] * scale_g;
    total_[2] += d[2] * scale_g8;
    total_[3] += d[3] * scale_g8;
  }

  /** A round's end, after 16 K step `step` of a tile. */
  __device__ __forceinline__ void add(const float (&d)[4], const Scales& scales, int step) {
    if constexpr (kShare == 4) {
      total_[0] += d[0] * expand<0>(scales.x) + d[1] * expand<1>(scales.x);
      total_[1] += d[2] * expand<2>(scales.x) + d[3] * expand<3>(scales.x);
    } else if constexpr (kNvfp4) {
      const uint32_t word = step < 2 ? scales.x : scales.y;
      step % 2 == 0 ? add_rows<0>(d, word) : add_rows<1>(d, word);
    } else {
      step < 2 ? add_rows<0>(d, scales.x) : add_rows<1>(d, scales.x);
    }
  }

  float total_[2 * kLaneTokens] = {};
  uint32_t exponent_ = 0x70000000u | opaque_zero();  // what NVFP4's scales lack
  uint32_t mine_;  // the block in a round whose tokens this lane has
  int lane_;
};

}  // namespace moe4j::cuda
