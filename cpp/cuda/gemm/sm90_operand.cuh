// What sm90_grouped.cuh multiplies: weights as a register operand of wgmma, made from prepared
// tiles, and the instruction that goes with them.
//
// Both kinds read tokens in blocks of 128 bytes a row, 32 bytes (16 BF16 or 32 E4M3) an
// instruction. A main loop takes them in halves of 64 bytes, two instructions that are in flight
// together: a weight tile of 64 K is two halves in BF16, one in E4M3.
#pragma once

#include <cstdint>

#include "cuda/dequant/fp8_fragment.cuh"
#include "cuda/dequant/fragment.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace moe4j::cuda {

template <int kFormat_>
struct Bf16Operand {
  static constexpr int kFormat = kFormat_;
  using Weights = Fragment<kFormat>;
  using Packed = typename Weights::Packed;
  static constexpr int kHalves = 2;             // a weight tile
  static constexpr bool kScaledTokens = false;  // no scale but 1

  /** unpack()'s, in a register. */
  static __device__ __forceinline__ uint32_t scale_mask() { return Weights::scale_mask(); }

  /** A's registers of the two instructions of a half. */
  template <int kHalf>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[2][4],
                                                uint32_t scale_mask) {
    Weights::template unpack<2 * kHalf>(packed, a[0], scale_mask);
    Weights::template unpack<2 * kHalf + 1>(packed, a[1], scale_mask);
  }

  template <int kTokens>
  static __device__ __forceinline__ void multiply(float* d, const uint32_t (&a)[4], uint64_t b) {
    wgmma_m64k16<kTokens>(d, a, b);
  }
};

/** MXFP4 weights in the order of fp8_layout.hpp. */
struct Fp8Operand {
  static constexpr int kFormat = MOE4J_FORMAT_MXFP4;
  using Weights = Fp8Fragment;
  using Packed = Fp8Fragment;
  static constexpr int kHalves = 1;
  static constexpr bool kScaledTokens = true;

  static __device__ __forceinline__ uint32_t scale_mask() { return 0; }  // there is none

  template <int kHalf>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[2][4],
                                                uint32_t /*scale_mask*/) {
    packed.unpack<0>(a[0]);
    packed.unpack<1>(a[1]);
  }

  template <int kTokens>
  static __device__ __forceinline__ void multiply(float* d, const uint32_t (&a)[4], uint64_t b) {
    wgmma_m64k32_e4m3<kTokens>(d, a, b);
  }
};

}  // namespace moe4j::cuda
