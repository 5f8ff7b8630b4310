#include "api/check_layer.hpp"

#include <cmath>
#include <cstdio>

#include "api/checks.hpp"
#include "api/dtypes.hpp"
#include "formats/block_format.hpp"
#include "routing/routing_methods.hpp"
#include "support/layer_desc.hpp"
#include "support/limits.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

Status check_formats(const moe4j_layer_desc& desc) noexcept {
  const auto name = [](int32_t format) {
    return is_format(format) ? block_format(format).name : "unknown";
  };
  if (desc.weight_format != MOE4J_FORMAT_BF16 && desc.weight_format != MOE4J_FORMAT_NVFP4 &&
      desc.weight_format != MOE4J_FORMAT_MXFP4) {
    return invalid_argument("weight_format: found %d (%s), expected BF16, NVFP4 or MXFP4",
                            desc.weight_format, name(desc.weight_format));
  }
  if (!is_format(desc.activation_format) || desc.activation_format == MOE4J_FORMAT_MXFP4) {
    return invalid_argument(
        "activation_format: found %d (%s), expected BF16, NVFP4, MXFP8, FP8_PER_TOKEN or INT8",
        desc.activation_format, name(desc.activation_format));
  }
  if (desc.activation_format == MOE4J_FORMAT_INT8 && desc.weight_format == MOE4J_FORMAT_BF16) {
    return invalid_argument("activation_format: found 5 (INT8), expected another for BF16 weights");
  }
  return Status::ok();
}

/** A length along K: positive and a multiple of the blocks of everything that is multiplied. */
Status check_reduced_size(const moe4j_layer_desc& desc, const char* name, int32_t size) noexcept {
  MOE4J_RETURN_IF_ERROR(check_range(name, size, 1, kMaxSize));
  for (const int32_t format : {desc.weight_format, desc.activation_format}) {
    const BlockFormat known = block_format(format);
    if (size % known.block != 0) {
      return invalid_argument("%s: found %d, expected a multiple of %s's block of %d", name, size,
                              known.name, known.block);
    }
  }
  return Status::ok();
}

Status check_experts(const moe4j_layer_desc& desc) noexcept {
  const int32_t experts = desc.num_experts;
  const int32_t shared = desc.num_fused_shared_experts;
  MOE4J_RETURN_IF_ERROR(check_range("local_num_experts", desc.local_num_experts, 1, experts));
  MOE4J_RETURN_IF_ERROR(check_range("local_expert_offset", desc.local_expert_offset, 0,
                                    experts - desc.local_num_experts));
  MOE4J_RETURN_IF_ERROR(check_range("num_fused_shared_experts", shared, 0, kMaxTopK));
  if (shared > 0 && desc.routing_method != MOE4J_ROUTING_DEEPSEEK_V3) {
    return invalid_argument(
        "num_fused_shared_experts: found %d, expected 0 unless the routing method is DeepSeekV3",
        shared);
  }
  if (shared > 0 && desc.local_num_experts != experts) {
    return invalid_argument(
        "num_fused_shared_experts: found %d, expected 0 with expert parallelism (%d of %d experts "
        "are local)",
        shared, desc.local_num_experts, experts);
  }
  return Status::ok();
}

/** One projection [rows, K] of an expert; `projection` is gate, up or down. */
Status check_matrix(const char* projection, const moe4j_matrix& matrix, int32_t format_id,
                    int64_t rows, int64_t k) noexcept {
  const BlockFormat format = block_format(format_id);
  char name[32];
  const auto field = [&](const char* of) {
    std::snprintf(name, sizeof(name), "%s.%s", projection, of);
    return name;
  };
  const int64_t code_alignment = format_id == MOE4J_FORMAT_BF16 ? 2 : 1;
  MOE4J_RETURN_IF_ERROR(check_pointer(field("codes"), matrix.codes, code_alignment));
  if (matrix.row_stride < format.code_bytes(k) || matrix.row_stride % code_alignment != 0) {
    return invalid_argument("%s: found %lld, expected %lld bytes or more for %lld elements of %s",
                            field("row_stride"), static_cast<long long>(matrix.row_stride),
                            static_cast<long long>(format.code_bytes(k)), static_cast<long long>(k),
                            format.name);
  }
  MOE4J_RETURN_IF_ERROR(check_size(field("row_stride"), {rows, matrix.row_stride}));
  if (format.has_scales) {
    MOE4J_RETURN_IF_ERROR(check_pointer(field("scales"), matrix.scales, 1));
    if (matrix.scale_row_stride < format.scale_bytes(k)) {
      return invalid_argument("%s: found %lld, expected %lld bytes or more for %lld scales of %s",
                              field("scale_row_stride"),
                              static_cast<long long>(matrix.scale_row_stride),
                              static_cast<long long>(format.scale_bytes(k)),
                              static_cast<long long>(format.scale_bytes(k)), format.name);
    }
    MOE4J_RETURN_IF_ERROR(check_size(field("scale_row_stride"), {rows, matrix.scale_row_stride}));
  } else {
    MOE4J_RETURN_IF_ERROR(check_absent(field("scales"), matrix.scales, "for BF16"));
  }
  // A weight's tensor scale may be zero (of a matrix of zeros) or negative: it only multiplies.
  if (format.has_tensor_scale ? !std::isfinite(matrix.tensor_scale) : matrix.tensor_scale != 1) {
    return invalid_argument("%s: found %g, expected %s for %s", field("tensor_scale"),
                            static_cast<double>(matrix.tensor_scale),
                            format.has_tensor_scale ? "a finite number" : "1", format.name);
  }
  if (matrix.bias == nullptr) return Status::ok();
  MOE4J_RETURN_IF_ERROR(check_float_dtype(field("bias_dtype"), matrix.bias_dtype));
  MOE4J_RETURN_IF_ERROR(check_pointer(field("bias"), matrix.bias, float_bytes(matrix.bias_dtype)));
  if (matrix.bias_stride < 1) {
    return invalid_argument("%s: found %lld, expected 1 or more", field("bias_stride"),
                            static_cast<long long>(matrix.bias_stride));
  }
  return check_size(field("bias_stride"), {rows, matrix.bias_stride, 4});
}

/** Of SiTU's alpha and beta. In F32 no tanh of this is seen any more, and with more it breaks. */
constexpr float kMaxSituParameter = 0x1p64f;

Status check_activation_parameters(const moe4j_layer_desc& desc,
                                   const moe4j_expert_weights& weights) noexcept {
  const bool situ = desc.activation == MOE4J_SITU;
  if (situ || desc.activation == MOE4J_SWIGLU) {
    const auto bad = [&](float value) {
      return !std::isfinite(value) || (situ && (value <= 0 || value > kMaxSituParameter));
    };
    const char* expected = situ ? "a positive number up to 2^64" : "a finite number";
    if (bad(weights.alpha)) {
      return invalid_argument("alpha: found %g, expected %s", static_cast<double>(weights.alpha),
                              expected);
    }
    if (bad(weights.beta)) {
      return invalid_argument("beta: found %g, expected %s", static_cast<double>(weights.beta),
                              expected);
    }
  }
  const bool clamps = desc.activation == MOE4J_SWIGLU || desc.activation == MOE4J_GEGLU;
  if (clamps && !(weights.limit > 0)) {
    return invalid_argument("limit: found %g, expected a positive number, or infinity for none",
                            static_cast<double>(weights.limit));
  }
  return Status::ok();
}

}  // namespace

Status check_layer_desc(const moe4j_layer_desc& desc) noexcept {
  MOE4J_RETURN_IF_ERROR(check_formats(desc));
  MOE4J_RETURN_IF_ERROR(check_reduced_size(desc, "hidden_size", desc.hidden_size));
  MOE4J_RETURN_IF_ERROR(check_reduced_size(desc, "intermediate_size", desc.intermediate_size));
  MOE4J_RETURN_IF_ERROR(check_routing(desc));
  MOE4J_RETURN_IF_ERROR(check_experts(desc));
  return check_range("activation", desc.activation, MOE4J_SWIGLU, MOE4J_SITU);
}

Status check_expert(const moe4j_layer_desc& desc, int32_t local_expert,
                    const moe4j_expert_weights& weights) noexcept {
  const int32_t count = num_held_experts(desc);
  MOE4J_RETURN_IF_ERROR(check_range("local_expert", local_expert, 0, count - 1));

  const int32_t h = desc.hidden_size;
  const int32_t i = desc.intermediate_size;
  MOE4J_RETURN_IF_ERROR(check_matrix("gate", weights.gate, desc.weight_format, i, h));
  if (has_gate(desc.activation)) {
    MOE4J_RETURN_IF_ERROR(check_matrix("up", weights.up, desc.weight_format, i, h));
  } else {
    const char* reason = "for an activation without a gate";
    MOE4J_RETURN_IF_ERROR(check_absent("up.codes", weights.up.codes, reason));
    MOE4J_RETURN_IF_ERROR(check_absent("up.scales", weights.up.scales, reason));
    MOE4J_RETURN_IF_ERROR(check_absent("up.bias", weights.up.bias, reason));
  }
  MOE4J_RETURN_IF_ERROR(check_matrix("down", weights.down, desc.weight_format, h, i));

  if (desc.activation_format == MOE4J_FORMAT_NVFP4) {
    MOE4J_RETURN_IF_ERROR(
        check_tensor_scale("input_scale", MOE4J_FORMAT_NVFP4, weights.input_scale));
    MOE4J_RETURN_IF_ERROR(
        check_tensor_scale("intermediate_scale", MOE4J_FORMAT_NVFP4, weights.intermediate_scale));
  }
  return check_activation_parameters(desc, weights);
}

}  // namespace moe4j
