// Block scales: how one is chosen for a block, and what it multiplies.
#pragma once

#include <cstdint>

#include "formats/block_format.hpp"
#include "formats/ue8m0.hpp"
#include "support/host_device.hpp"

namespace moe4j {

/**
 * The scale of a block whose largest magnitude is `amax` (finite). NVFP4: E4M3(amax / 6 /
 * tensor_scale), which may underflow to zero; `tensor_scale` is positive. MX formats: the smallest
 * power of two that lets nothing saturate; `tensor_scale` is not read.
 *
 * The quotient is computed in double: 6 * tensor_scale is exact there, and a quotient of two F32
 * values that is no tie of E4M3 cannot round to one.
 */
MOE4J_HOST_DEVICE inline uint8_t encode_block_scale(const BlockFormat& format, float amax,
                                                    float tensor_scale) {
  if (format.scale_dtype == MOE4J_UE8M0) return ue8m0_smallest_scale(amax, format.max_code);
  return e4m3_encode(static_cast<double>(amax) /
                     (static_cast<double>(format.max_code) * static_cast<double>(tensor_scale)));
}

/** The factor that a block scale stands for, without the tensor scale. Exact. */
MOE4J_HOST_DEVICE inline float decode_block_scale(const BlockFormat& format, uint8_t scale) {
  return format.scale_dtype == MOE4J_UE8M0 ? ue8m0_decode(scale) : e4m3_decode(scale);
}

MOE4J_HOST_DEVICE inline bool block_scale_is_nan(const BlockFormat& format, uint8_t scale) {
  return format.scale_dtype == MOE4J_UE8M0 ? scale == kUe8m0NaN : e4m3_is_nan(scale);
}

}  // namespace moe4j
