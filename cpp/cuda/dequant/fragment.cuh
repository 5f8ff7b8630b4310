// From prepared weights to the A operand of matrix instructions; the layout is weight_layout.hpp's.
//
// Fragment<format>::Packed is a lane's share of one strip of one tile (16 rows x 64 K);
// unpack<j>() makes the four A registers of k 16j..16j+15 from it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/dequant/packed_words.hpp"
#include "cuda/ptx/copy.cuh"
#include "cuda/weight_layout.hpp"

namespace moe4j::cuda {

__device__ __forceinline__ uint32_t multiply_bf16x2(uint32_t a, uint32_t b) {
  uint32_t d;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
#else
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(0x80008000u));
#endif
  return d;
}

/**
 * A half of `pair` (0 low, 1 high) twice. As moves of 16 bits it becomes a modifier of the operand
 * that it is; a byte permutation would become an instruction.
 */
template <int kHalf>
__device__ __forceinline__ uint32_t both_halves(uint32_t pair) {
  uint32_t both;
  if constexpr (kHalf == 0) {
    asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %1;\nmov.b32 %0, {l, l};\n}" : "=r"(both) : "r"(pair));
  } else {
    asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %1;\nmov.b32 %0, {h, h};\n}" : "=r"(both) : "r"(pair));
  }
  return both;
}

/** Eight FP4 codes to four BF16 pairs; `scales` are rows g (low half) and g + 8's. */
__device__ __forceinline__ void dequantize_fp4(uint32_t word, uint32_t scales, uint32_t (&a)[4]) {
  unpack_fp4(word, a);
  a[0] = multiply_bf16x2(a[0], both_halves<0>(scales));
  a[1] = multiply_bf16x2(a[1], both_halves<1>(scales));
  a[2] = multiply_bf16x2(a[2], both_halves<0>(scales));
  a[3] = multiply_bf16x2(a[3], both_halves<1>(scales));
}

template <int kWord>
__device__ __forceinline__ uint32_t word_of(const uint4& v) {
  return kWord == 0 ? v.x : kWord == 1 ? v.y : kWord == 2 ? v.z : v.w;
}

/** 0, which the compiler does not know: no grid has two billion layers. */
__device__ __forceinline__ uint32_t opaque_zero() { return gridDim.z >> 31; }

/** NVFP4 and MXFP4. */
template <int kFormat>
struct Fragment : StripPlace<kFormat> {
  using Place = StripPlace<kFormat>;
  static constexpr bool kNvfp4 = kFormat == MOE4J_FORMAT_NVFP4;

  using Scales = std::conditional_t<kNvfp4, uint2, uint32_t>;

  struct Packed {
    uint4 codes;
    Scales scales;
  };

  /** From the shared addresses of a lane's codes and scales. */
  static __device__ __forceinline__ Packed load_shared(uint32_t codes, uint32_t scales) {
    return load(__cvta_shared_to_generic(codes), __cvta_shared_to_generic(scales));
  }

  static __device__ __forceinline__ Packed load_shared(const uint8_t* tile, int strip, int lane) {
    return load(tile + Place::codes_offset(strip, lane), tile + Place::scales_offset(strip, lane));
  }

  static __device__ __forceinline__ Packed load_global(const uint8_t* tile, int strip, int lane) {
    const uint8_t* const scales = tile + Place::scales_offset(strip, lane);
    const uint4 codes = load_streaming_16(tile + Place::codes_offset(strip, lane));
    if constexpr (kNvfp4) {
      return {codes, load_streaming_8(scales)};
    } else {
      return {codes, load_streaming_4(scales)};
    }
  }

  /** unpack()'s, in a register. */
  static __device__ __forceinline__ uint32_t scale_mask() {
    return kScaleBits<kFormat> + opaque_zero();
  }

  template <int kStep>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[4],
                                                uint32_t mask = kScaleBits<kFormat>) {
    uint32_t scales;
    if constexpr (kNvfp4) {
      scales =
          unpack_scales<kFormat, kStep % 2>(kStep < 2 ? packed.scales.x : packed.scales.y, mask);
    } else {
      scales = unpack_scales<kFormat, kStep / 2>(packed.scales);
    }
    dequantize_fp4(word_of<kStep>(packed.codes), scales, a);
  }

 private:
  static __device__ __forceinline__ Packed load(const void* codes, const void* scales) {
    return {*static_cast<const uint4*>(codes), *static_cast<const Scales*>(scales)};
  }
};

template <>
struct Fragment<MOE4J_FORMAT_BF16> : StripPlace<MOE4J_FORMAT_BF16> {
  struct Packed {
    uint4 registers[4];  // for each 16 K
  };

  /** From the shared addresses of a lane's weights, and of scales that there are none of. */
  static __device__ __forceinline__ Packed load_shared(uint32_t codes, uint32_t /*scales*/) {
    return load(static_cast<const uint8_t*>(__cvta_shared_to_generic(codes)));
  }

  static __device__ __forceinline__ Packed load_shared(const uint8_t* tile, int strip, int lane) {
    return load(tile + codes_offset(strip, lane));
  }

  static __device__ __forceinline__ Packed load_global(const uint8_t* tile, int strip, int lane) {
    const uint8_t* const source = tile + codes_offset(strip, lane);
    Packed packed;
#pragma unroll
    for (int j = 0; j < 4; ++j) packed.registers[j] = load_streaming_16(source + j * 512);
    return packed;
  }

  static __device__ __forceinline__ uint32_t scale_mask() { return 0; }  // there is none

  template <int kStep>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[4],
                                                uint32_t /*mask*/ = 0) {
    const uint4& r = packed.registers[kStep];
    // An instruction of its own between load and matrix unit: with loads straight into wgmma's
    // operand registers results were wrong now and then.
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[0]) : "r"(r.x), "r"(opaque_zero()));
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[1]) : "r"(r.y), "r"(opaque_zero()));
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[2]) : "r"(r.z), "r"(opaque_zero()));
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[3]) : "r"(r.w), "r"(opaque_zero()));
  }

 private:
  static __device__ __forceinline__ Packed load(const uint8_t* source) {
    Packed packed;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      packed.registers[j] = *reinterpret_cast<const uint4*>(source + j * 512);
    }
    return packed;
  }
};

}  // namespace moe4j::cuda
