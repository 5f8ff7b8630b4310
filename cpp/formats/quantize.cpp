#include "formats/quantize.hpp"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "formats/bf16.hpp"
#include "formats/block_format.hpp"
#include "formats/block_scale.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

constexpr int32_t kMaxBlock = 32;
constexpr uint32_t kF32Infinity = 0x7F800000u;

/** The largest magnitude of a block as F32 bits, whose order is that of the magnitudes: infinities
 *  come after all finite values, NaNs after the infinities. */
uint32_t max_magnitude_bits(int32_t block, const float* values) {
  uint32_t largest = 0;
  for (int32_t i = 0; i < block; ++i) {
    largest = std::max(largest, bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu);
  }
  return largest;
}

/** Chooses a block's scale and each element's code, one a byte. */
uint8_t encode_block(const BlockFormat& format, const float* values, float amax, float tensor_scale,
                     uint8_t* codes) {
  const uint8_t scale = encode_block_scale(format, amax, tensor_scale);
  // What a code of 1 stands for. Exact in double, and so is each rounding decision below: a
  // quotient that is no tie cannot round to one.
  double unit = decode_block_scale(format, scale);
  if (format.has_tensor_scale) unit *= tensor_scale;
  if (unit == 0) {
    std::fill_n(codes, format.block, uint8_t{0});
  } else if (format.code_dtype == MOE4J_E2M1X2) {
    for (int32_t i = 0; i < format.block; ++i) codes[i] = e2m1_encode(values[i] / unit);
  } else {
    for (int32_t i = 0; i < format.block; ++i) codes[i] = e4m3_encode(values[i] / unit);
  }
  return scale;
}

float decode_code(const BlockFormat& format, uint8_t code) {
  return format.code_dtype == MOE4J_E2M1X2 ? e2m1_decode(code) : e4m3_decode(code);
}

uint8_t code_at(const BlockFormat& format, const uint8_t* row, int64_t index) {
  return format.code_dtype == MOE4J_E2M1X2 ? e2m1_unpack(row, index) : row[index];
}

template <class Out>
Out store(float value) {
  if constexpr (std::is_same_v<Out, float>) {
    return value;
  } else {
    return f32_to_bf16(value);
  }
}

void load_block(int32_t dtype, const void* source, int64_t first, int32_t block, float* values) {
  for (int32_t i = 0; i < block; ++i) {
    values[i] = dtype == MOE4J_F32 ? static_cast<const float*>(source)[first + i]
                                   : bf16_to_f32(static_cast<const uint16_t*>(source)[first + i]);
  }
}

Status not_finite(int64_t row, int64_t column, int32_t block, const float* values) noexcept {
  int32_t i = 0;
  while (i < block - 1 && max_magnitude_bits(1, values + i) < kF32Infinity) ++i;
  return invalid_argument("source: found %g at [%lld, %lld], expected finite values",
                          static_cast<double>(values[i]), static_cast<long long>(row),
                          static_cast<long long>(column + i));
}

}  // namespace

Status quantize(int32_t format_id, int64_t rows, int64_t k, int32_t source_dtype,
                const void* source, float tensor_scale, uint8_t* codes, uint8_t* scales) noexcept {
  const BlockFormat format = block_format(format_id);
  float values[kMaxBlock];
  for (int64_t row = 0; row < rows; ++row) {
    uint8_t* row_codes = codes + row * format.code_bytes(k);
    uint8_t* row_scales = scales + row * format.scale_bytes(k);
    for (int64_t first = 0; first < k; first += format.block) {
      load_block(source_dtype, source, row * k + first, format.block, values);
      const uint32_t amax = max_magnitude_bits(format.block, values);
      if (amax >= kF32Infinity) return not_finite(row, first, format.block, values);

      uint8_t block_codes[kMaxBlock];
      row_scales[first / format.block] =
          encode_block(format, values, bit_cast<float>(amax), tensor_scale, block_codes);
      uint8_t* packed = row_codes + format.code_bytes(first);
      if (format.code_dtype == MOE4J_E2M1X2) {
        for (int32_t i = 0; i < format.block; i += 2) {
          packed[i / 2] = e2m1_pack(block_codes[i], block_codes[i + 1]);
        }
      } else {
        std::copy_n(block_codes, format.block, packed);
      }
    }
  }
  return Status::ok();
}

void dequantize(int32_t format_id, int64_t rows, int64_t k, const uint8_t* codes,
                const uint8_t* scales, float tensor_scale, float* destination) noexcept {
  const BlockFormat format = block_format(format_id);
  for (int64_t row = 0; row < rows; ++row) {
    float* values = destination + row * k;
    decode_row(format_id, k, codes + row * format.code_bytes(k),
               scales + row * format.scale_bytes(k), values);
    if (!format.has_tensor_scale) continue;
    for (int64_t i = 0; i < k; ++i) values[i] *= tensor_scale;
  }
}

template <class Out>
void decode_row(int32_t format_id, int64_t k, const uint8_t* codes, const uint8_t* scales,
                Out* destination) noexcept {
  const BlockFormat format = block_format(format_id);
  for (int64_t first = 0; first < k; first += format.block) {
    const float scale = decode_block_scale(format, scales[first / format.block]);
    for (int64_t i = first; i < first + format.block; ++i) {
      destination[i] = store<Out>(decode_code(format, code_at(format, codes, i)) * scale);
    }
  }
}

template <class In>
float token_scale(int64_t k, const In* row) noexcept {
  uint32_t largest = 0;
  for (int64_t i = 0; i < k; ++i) {
    float value;
    if constexpr (std::is_same_v<In, float>) {
      value = row[i];
    } else {
      value = bf16_to_f32(row[i]);
    }
    largest = std::max(largest, max_magnitude_bits(1, &value));
  }
  if (largest >= kF32Infinity) return std::numeric_limits<float>::quiet_NaN();
  return ue8m0_decode(ue8m0_smallest_scale(bit_cast<float>(largest), kE4m3Max));
}

template <class Out>
void fake_quantize_row(int32_t format_id, int64_t k, const float* source, float tensor_scale,
                       Out* destination) noexcept {
  const BlockFormat format = block_format(format_id);
  if (format.has_token_scale) {  // a power of two: quotients and products are exact
    for (int64_t i = 0; i < k; ++i) {
      destination[i] =
          store<Out>(e4m3_decode(e4m3_encode(source[i] / tensor_scale)) * tensor_scale);
    }
    return;
  }
  for (int64_t first = 0; first < k; first += format.block) {
    const float* values = source + first;
    const uint32_t amax = max_magnitude_bits(format.block, values);
    if (amax >= kF32Infinity) {
      std::fill_n(destination + first, format.block,
                  store<Out>(std::numeric_limits<float>::quiet_NaN()));
      continue;
    }
    uint8_t block_codes[kMaxBlock];
    const float scale = decode_block_scale(
        format, encode_block(format, values, bit_cast<float>(amax), tensor_scale, block_codes));
    for (int32_t i = 0; i < format.block; ++i) {
      destination[first + i] = store<Out>(decode_code(format, block_codes[i]) * scale);
    }
  }
}

template void decode_row<float>(int32_t, int64_t, const uint8_t*, const uint8_t*, float*) noexcept;
template void decode_row<uint16_t>(int32_t, int64_t, const uint8_t*, const uint8_t*,
                                   uint16_t*) noexcept;
template float token_scale<float>(int64_t, const float*) noexcept;
template float token_scale<uint16_t>(int64_t, const uint16_t*) noexcept;
template void fake_quantize_row<float>(int32_t, int64_t, const float*, float, float*) noexcept;
template void fake_quantize_row<uint16_t>(int32_t, int64_t, const float*, float,
                                          uint16_t*) noexcept;

}  // namespace moe4j
