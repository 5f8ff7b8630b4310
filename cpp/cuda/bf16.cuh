// BF16 on the device, as bits: alone, or two in a word, the first in its lower half.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace moe4j::cuda {

/** The first of two; or the only one, whatever the word's upper half holds. */
__device__ __forceinline__ float lower_bf16(uint32_t word) { return __uint_as_float(word << 16); }

__device__ __forceinline__ float upper_bf16(uint32_t word) {
  return __uint_as_float(word & 0xFFFF0000u);
}

__device__ __forceinline__ float load_bf16(const uint16_t* source) { return lower_bf16(*source); }

/** An element of a tensor of BF16 or F32. */
__device__ __forceinline__ float load_element(const void* source, bool is_bf16, int64_t index) {
  return is_bf16 ? load_bf16(static_cast<const uint16_t*>(source) + index)
                 : static_cast<const float*>(source)[index];
}

__device__ __forceinline__ uint16_t round_bf16(float value) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

__device__ __forceinline__ uint32_t round_bf16_pair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/** 16 bytes of eight. */
__device__ __forceinline__ uint4 round_bf16_chunk(const float (&values)[8]) {
  return make_uint4(round_bf16_pair(values[0], values[1]), round_bf16_pair(values[2], values[3]),
                    round_bf16_pair(values[4], values[5]), round_bf16_pair(values[6], values[7]));
}

}  // namespace moe4j::cuda
