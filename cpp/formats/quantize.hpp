// Quantizing and dequantizing on the host: whole matrices for the C ABI, single rows for kernels.
//
// Formats here are those with block scales: NVFP4, MXFP4 and MXFP8. K is a multiple of the block.
// FP8_PER_TOKEN exists as fake quantization only: its codes never leave a launch.
#pragma once

#include <cstdint>

#include "support/status.hpp"

namespace moe4j {

/**
 * Quantizes `source` [rows, K], F32 or BF16, as moe4j_quantize() documents it. Rounding is decided
 * on exact quotients. A NaN or an infinity is refused and named; what was written until then stays.
 * `tensor_scale` is positive and finite; only NVFP4 reads it.
 */
Status quantize(int32_t format, int64_t rows, int64_t k, int32_t source_dtype, const void* source,
                float tensor_scale, uint8_t* codes, uint8_t* scales) noexcept;

/** `destination` [rows, K] = value of each element, rounded once to F32. */
void dequantize(int32_t format, int64_t rows, int64_t k, const uint8_t* codes,
                const uint8_t* scales, float tensor_scale, float* destination) noexcept;

/**
 * The values code * block_scale of one quantized row, without the tensor scale: what a matrix unit
 * multiplies. `Out` is float (always exact) or uint16_t, BF16 bits (exact for every product that is
 * a normal BF16 number, rounded to nearest otherwise).
 */
template <class Out>
void decode_row(int32_t format, int64_t k, const uint8_t* codes, const uint8_t* scales,
                Out* destination) noexcept;

/** FP8_PER_TOKEN: the scale of a row, F32 or BF16 bits; NaN if an element is not finite. */
template <class In>
float token_scale(int64_t k, const In* row) noexcept;

/**
 * Fake quantization: what decode_row() would give for this row after quantize(). A block with a
 * NaN or an infinity becomes NaN throughout, so that the damage stays visible. `Out` as in
 * decode_row(); a float row may be quantized in place. FP8_PER_TOKEN takes any part of a row, and
 * the row's token_scale() as `tensor_scale`.
 */
template <class Out>
void fake_quantize_row(int32_t format, int64_t k, const float* source, float tensor_scale,
                       Out* destination) noexcept;

}  // namespace moe4j
