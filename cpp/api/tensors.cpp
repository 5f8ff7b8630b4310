// Operations on plain tensors: quantizers, scale layouts, the router's projection.
#include "api/checks.hpp"
#include "api/dtypes.hpp"
#include "api/guard.hpp"
#include "api/handles.hpp"
#include "api/tensor_list.hpp"
#include "formats/block_format.hpp"
#include "formats/scale_layout.hpp"
#include "moe4j/moe4j.h"
#include "support/limits.hpp"
#include "support/message.hpp"

using moe4j::BlockFormat;
using moe4j::check_pointer;
using moe4j::check_range;
using moe4j::check_size;
using moe4j::check_stream;
using moe4j::guarded;
using moe4j::Status;
using moe4j::TensorList;

namespace {

Status check_device(const moe4j_device* device, const void* stream) {
  MOE4J_RETURN_IF_ERROR(check_pointer("device", device, 1));
  return check_stream(device->kind, stream);
}

/** What quantizing and dequantizing have in common. */
Status check_block_matrix(int32_t format, int64_t rows, int64_t k, float tensor_scale) {
  MOE4J_RETURN_IF_ERROR(moe4j::check_block_format("format", format));
  const BlockFormat known = moe4j::block_format(format);
  MOE4J_RETURN_IF_ERROR(check_range("rows", rows, 0, INT64_MAX));
  MOE4J_RETURN_IF_ERROR(check_range("k", k, 0, INT64_MAX));
  if (k % known.block != 0) {
    return moe4j::invalid_argument("k: found %lld, expected a multiple of %s's block of %d",
                                   static_cast<long long>(k), known.name, known.block);
  }
  MOE4J_RETURN_IF_ERROR(check_size("k", {k, 8}));
  MOE4J_RETURN_IF_ERROR(check_size("rows", {rows, k, 8}));
  return moe4j::check_tensor_scale("tensor_scale", format, tensor_scale);
}

Status check_scale_matrix(int64_t rows, int64_t columns) {
  MOE4J_RETURN_IF_ERROR(check_range("rows", rows, 0, INT64_MAX));
  MOE4J_RETURN_IF_ERROR(check_range("columns", columns, 0, INT64_MAX));
  if (moe4j_swizzled_scale_bytes(rows, columns) < 0) {
    return moe4j::invalid_argument(
        "rows: found %lld with %lld columns, more bytes than an int64 can count",
        static_cast<long long>(rows), static_cast<long long>(columns));
  }
  return Status::ok();
}

}  // namespace

int32_t moe4j_quantize(moe4j_device* device, int32_t format, int64_t rows, int64_t k,
                       int32_t source_dtype, const void* source, float tensor_scale, void* codes,
                       void* scales, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device, stream));
    MOE4J_RETURN_IF_ERROR(check_block_matrix(format, rows, k, tensor_scale));
    MOE4J_RETURN_IF_ERROR(moe4j::check_float_dtype("source_dtype", source_dtype));
    const BlockFormat known = moe4j::block_format(format);
    TensorList tensors;
    tensors.reads("source", source, rows * k, moe4j::float_bytes(source_dtype));
    tensors.writes("codes", codes, rows * known.code_bytes(k), 1);
    tensors.writes("scales", scales, rows * known.scale_bytes(k), 1);
    MOE4J_RETURN_IF_ERROR(tensors.check());
    return device->impl->quantize(format, rows, k, source_dtype, source, tensor_scale, codes,
                                  scales, stream);
  });
}

int32_t moe4j_dequantize(moe4j_device* device, int32_t format, int64_t rows, int64_t k,
                         const void* codes, const void* scales, float tensor_scale,
                         float* destination, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device, stream));
    MOE4J_RETURN_IF_ERROR(check_block_matrix(format, rows, k, tensor_scale));
    const BlockFormat known = moe4j::block_format(format);
    TensorList tensors;
    tensors.reads("codes", codes, rows * known.code_bytes(k), 1);
    tensors.reads("scales", scales, rows * known.scale_bytes(k), 1);
    tensors.writes("destination", destination, rows * k, sizeof(float));
    MOE4J_RETURN_IF_ERROR(tensors.check());
    return device->impl->dequantize(format, rows, k, codes, scales, tensor_scale, destination,
                                    stream);
  });
}

int64_t moe4j_swizzled_scale_bytes(int64_t rows, int64_t columns) {
  // Padding adds less than a tile to each side; beyond these bounds the answer would not fit.
  constexpr int64_t kMaxExtent = INT64_MAX - moe4j::kScaleTileRows;
  if (rows < 0 || columns < 0 || rows > kMaxExtent || columns > kMaxExtent) return -1;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(moe4j::ceil_div(rows, moe4j::kScaleTileRows),
                             moe4j::ceil_div(columns, moe4j::kScaleTileColumns), &bytes) ||
      __builtin_mul_overflow(bytes, moe4j::kScaleTileBytes, &bytes)) {
    return -1;
  }
  return bytes;
}

int32_t moe4j_swizzle_scales(moe4j_device* device, int64_t rows, int64_t columns,
                             const void* linear, void* swizzled, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device, stream));
    MOE4J_RETURN_IF_ERROR(check_scale_matrix(rows, columns));
    TensorList tensors;
    tensors.reads("linear", linear, rows * columns, 1);
    tensors.writes("swizzled", swizzled, moe4j_swizzled_scale_bytes(rows, columns), 1);
    MOE4J_RETURN_IF_ERROR(tensors.check());
    return device->impl->swizzle_scales(rows, columns, linear, swizzled, stream);
  });
}

int32_t moe4j_unswizzle_scales(moe4j_device* device, int64_t rows, int64_t columns,
                               const void* swizzled, void* linear, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device, stream));
    MOE4J_RETURN_IF_ERROR(check_scale_matrix(rows, columns));
    TensorList tensors;
    tensors.reads("swizzled", swizzled, moe4j_swizzled_scale_bytes(rows, columns), 1);
    tensors.writes("linear", linear, rows * columns, 1);
    MOE4J_RETURN_IF_ERROR(tensors.check());
    return device->impl->unswizzle_scales(rows, columns, swizzled, linear, stream);
  });
}

int32_t moe4j_router_logits(moe4j_device* device, int64_t tokens, int64_t hidden_size,
                            int64_t num_experts, int32_t hidden_dtype, const void* hidden_states,
                            int32_t weight_dtype, const void* weight, int32_t bias_dtype,
                            const void* bias, float* logits, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device, stream));
    MOE4J_RETURN_IF_ERROR(check_range("tokens", tokens, 0, moe4j::kMaxTokens));
    MOE4J_RETURN_IF_ERROR(check_range("hidden_size", hidden_size, 1, moe4j::kMaxSize));
    MOE4J_RETURN_IF_ERROR(check_range("num_experts", num_experts, 1, moe4j::kMaxExperts));
    MOE4J_RETURN_IF_ERROR(moe4j::check_float_dtype("hidden_dtype", hidden_dtype));
    MOE4J_RETURN_IF_ERROR(moe4j::check_float_dtype("weight_dtype", weight_dtype));
    if (bias != nullptr) MOE4J_RETURN_IF_ERROR(moe4j::check_float_dtype("bias_dtype", bias_dtype));
    MOE4J_RETURN_IF_ERROR(check_size("tokens", {tokens, hidden_size, 4}));
    TensorList tensors;
    tensors.reads("hidden_states", hidden_states, tokens * hidden_size,
                  moe4j::float_bytes(hidden_dtype));
    tensors.reads("weight", weight, num_experts * hidden_size, moe4j::float_bytes(weight_dtype));
    tensors.may_read("bias", bias, num_experts, moe4j::float_bytes(bias_dtype));
    tensors.writes("logits", logits, tokens * num_experts, sizeof(float));
    MOE4J_RETURN_IF_ERROR(tensors.check());
    return device->impl->router_logits(tokens, hidden_size, num_experts, hidden_dtype,
                                       hidden_states, weight_dtype, weight, bias_dtype, bias,
                                       logits, stream);
  });
}
