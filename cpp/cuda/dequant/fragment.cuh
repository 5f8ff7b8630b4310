// From prepared weights to the A operand of matrix instructions; the layout is weight_layout.hpp's.
//
// Fragment<format>::Packed is a lane's share of one strip of one tile (16 rows x 64 K);
// unpack<j>() makes the four A registers of k 16j..16j+15 from it.
#pragma once

#include <cstdint>

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

/** Eight FP4 codes to four BF16 pairs, each 2^-126 too small before the scale of its row. */
__device__ __forceinline__ void dequantize_fp4(uint32_t word, uint32_t scale_g, uint32_t scale_g8,
                                               uint32_t (&a)[4]) {
  constexpr uint32_t kSign = 0x80008000u;
  constexpr uint32_t kMagnitude = 0x01C001C0u;
  a[0] = multiply_bf16x2(word & (kSign | kMagnitude), scale_g);
  a[1] = multiply_bf16x2((word << 3) & (kSign | kMagnitude), scale_g8);
  a[2] = multiply_bf16x2(((word << 6) & kMagnitude) | ((word << 1) & kSign), scale_g);
  a[3] = multiply_bf16x2(((word >> 3) & kMagnitude) | ((word << 2) & kSign), scale_g8);
}

/** Byte `kIndex` of `bytes` in both halves of a word, zero-extended. */
template <int kIndex>
__device__ __forceinline__ uint32_t byte_in_both_halves(uint32_t bytes) {
  return __byte_perm(bytes, 0, 0x4040 | kIndex | (kIndex << 8));
}

template <int kWord>
__device__ __forceinline__ uint32_t word_of(const uint4& v) {
  return kWord == 0 ? v.x : kWord == 1 ? v.y : kWord == 2 ? v.z : v.w;
}

template <int kFormat>
struct Fragment;

template <>
struct Fragment<MOE4J_FORMAT_NVFP4> {
  static constexpr StripLayout kLayout = strip_layout(MOE4J_FORMAT_NVFP4);
  static constexpr int kTileBytes = kLayout.tile_bytes();

  struct Packed {
    uint4 codes;
    uint2 scales;  // of rows g and g + 8
  };

  /** Where a lane's codes and scales lie in a tile. */
  static __device__ __forceinline__ uint32_t codes_offset(int strip, int lane) {
    return strip * kLayout.code_bytes + lane * 16;
  }
  static __device__ __forceinline__ uint32_t scales_offset(int strip, int lane) {
    return kStripsPerTile * kLayout.code_bytes + strip * kLayout.scale_bytes + (lane >> 2) * 8;
  }

  /** From the shared addresses of a lane's codes and scales. */
  static __device__ __forceinline__ Packed load_shared(uint32_t codes, uint32_t scales) {
    return {*static_cast<const uint4*>(__cvta_shared_to_generic(codes)),
            *static_cast<const uint2*>(__cvta_shared_to_generic(scales))};
  }

  static __device__ __forceinline__ Packed load_global(const uint8_t* tile, int strip, int lane) {
    return {load_streaming_16(tile + strip * kLayout.code_bytes + lane * 16),
            load_streaming_8(tile + kStripsPerTile * kLayout.code_bytes +
                             strip * kLayout.scale_bytes + (lane >> 2) * 8)};
  }

  static __device__ __forceinline__ Packed load_shared(const uint8_t* tile, int strip, int lane) {
    return {*reinterpret_cast<const uint4*>(tile + strip * kLayout.code_bytes + lane * 16),
            *reinterpret_cast<const uint2*>(tile + kStripsPerTile * kLayout.code_bytes +
                                            strip * kLayout.scale_bytes + (lane >> 2) * 8)};
  }

  template <int kStep>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[4]) {
    dequantize_fp4(word_of<kStep>(packed.codes), expand<kStep>(packed.scales.x),
                   expand<kStep>(packed.scales.y), a);
  }

 private:
  /** e5m3 under BF16's exponent bits 14..12: 2^(97 + e) * (1 + m / 8), in both halves. */
  template <int kStep>
  static __device__ __forceinline__ uint32_t expand(uint32_t scales) {
    return byte_in_both_halves<kStep>(scales) * 16u + 0x70007000u;
  }
};

template <>
struct Fragment<MOE4J_FORMAT_MXFP4> {
  static constexpr StripLayout kLayout = strip_layout(MOE4J_FORMAT_MXFP4);
  static constexpr int kTileBytes = kLayout.tile_bytes();

  struct Packed {
    uint4 codes;
    uint32_t scales;  // bytes 0, 1 of row g; 2, 3 of row g + 8
  };

  /** Where a lane's codes and scales lie in a tile. */
  static __device__ __forceinline__ uint32_t codes_offset(int strip, int lane) {
    return strip * kLayout.code_bytes + lane * 16;
  }
  static __device__ __forceinline__ uint32_t scales_offset(int strip, int lane) {
    return kStripsPerTile * kLayout.code_bytes + strip * kLayout.scale_bytes + (lane >> 2) * 4;
  }

  /** From the shared addresses of a lane's codes and scales. */
  static __device__ __forceinline__ Packed load_shared(uint32_t codes, uint32_t scales) {
    return {*static_cast<const uint4*>(__cvta_shared_to_generic(codes)),
            *static_cast<const uint32_t*>(__cvta_shared_to_generic(scales))};
  }

  static __device__ __forceinline__ Packed load_global(const uint8_t* tile, int strip, int lane) {
    return {load_streaming_16(tile + strip * kLayout.code_bytes + lane * 16),
            load_streaming_4(tile + kStripsPerTile * kLayout.code_bytes +
                             strip * kLayout.scale_bytes + (lane >> 2) * 4)};
  }

  static __device__ __forceinline__ Packed load_shared(const uint8_t* tile, int strip, int lane) {
    return {*reinterpret_cast<const uint4*>(tile + strip * kLayout.code_bytes + lane * 16),
            *reinterpret_cast<const uint32_t*>(tile + kStripsPerTile * kLayout.code_bytes +
                                               strip * kLayout.scale_bytes + (lane >> 2) * 4)};
  }

  template <int kStep>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[4]) {
    constexpr int kBlock = kStep / 2;
    dequantize_fp4(word_of<kStep>(packed.codes), byte_in_both_halves<kBlock>(packed.scales) << 7,
                   byte_in_both_halves<kBlock + 2>(packed.scales) << 7, a);
  }
};

/** 0, which the compiler does not know: no grid has two billion layers. */
__device__ __forceinline__ uint32_t opaque_zero() { return gridDim.z >> 31; }

template <>
struct Fragment<MOE4J_FORMAT_BF16> {
  static constexpr StripLayout kLayout = strip_layout(MOE4J_FORMAT_BF16);
  static constexpr int kTileBytes = kLayout.tile_bytes();

  struct Packed {
    uint4 registers[4];  // for each 16 K
  };

  /** Where a lane's codes and scales lie in a tile. */
  static __device__ __forceinline__ uint32_t codes_offset(int strip, int lane) {
    return strip * kLayout.code_bytes + lane * 16;
  }
  static __device__ __forceinline__ uint32_t scales_offset(int /*strip*/, int /*lane*/) {
    return 0;
  }

  /** From the shared addresses of a lane's codes and scales. */
  static __device__ __forceinline__ Packed load_shared(uint32_t codes, uint32_t /*scales*/) {
    Packed packed;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      packed.registers[j] = *static_cast<const uint4*>(__cvta_shared_to_generic(codes + j * 512));
    }
    return packed;
  }

  static __device__ __forceinline__ Packed load_global(const uint8_t* tile, int strip, int lane) {
    Packed packed;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      packed.registers[j] =
          load_streaming_16(tile + strip * kLayout.code_bytes + j * 512 + lane * 16);
    }
    return packed;
  }

  static __device__ __forceinline__ Packed load_shared(const uint8_t* tile, int strip, int lane) {
    Packed packed;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      packed.registers[j] =
          *reinterpret_cast<const uint4*>(tile + strip * kLayout.code_bytes + j * 512 + lane * 16);
    }
    return packed;
  }

  template <int kStep>
  static __device__ __forceinline__ void unpack(const Packed& packed, uint32_t (&a)[4]) {
    const uint4& r = packed.registers[kStep];
    // An instruction of its own between load and matrix unit: with loads straight into wgmma's
    // operand registers results were wrong now and then.
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[0]) : "r"(r.x), "r"(opaque_zero()));
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[1]) : "r"(r.y), "r"(opaque_zero()));
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[2]) : "r"(r.z), "r"(opaque_zero()));
    asm volatile("add.u32 %0, %1, %2;" : "=r"(a[3]) : "r"(r.w), "r"(opaque_zero()));
  }
};

}  // namespace moe4j::cuda
