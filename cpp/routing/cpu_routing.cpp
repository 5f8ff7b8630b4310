#include "routing/cpu_routing.hpp"

#include <cmath>

#include "formats/bf16.hpp"
#include "routing/routing_methods.hpp"
#include "support/limits.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

float load(int32_t dtype, const void* source, int64_t index) {
  return dtype == MOE4J_F32 ? static_cast<const float*>(source)[index]
                            : bf16_to_f32(static_cast<const uint16_t*>(source)[index]);
}

Status check_bias(int32_t experts, const float* bias) noexcept {
  for (int32_t e = 0; e < experts; ++e) {
    if (!std::isfinite(bias[e])) {
      return invalid_argument("routing_bias: found %g at [%d], expected finite numbers",
                              static_cast<double>(bias[e]), e);
    }
  }
  return Status::ok();
}

Status route_from_logits(const moe4j_layer_desc& desc, const moe4j_launch_args& args, int64_t begin,
                         int64_t end, int32_t* ids, float* weights) noexcept {
  MOE4J_RETURN_IF_ERROR(check_routing(desc));
  const float* bias = routing_method(desc).has_bias ? args.routing_bias : nullptr;
  if (bias != nullptr) MOE4J_RETURN_IF_ERROR(check_bias(desc.num_experts, bias));

  double logits[kMaxExperts];
  for (int64_t t = begin; t < end; ++t) {
    for (int32_t e = 0; e < desc.num_experts; ++e) {
      logits[e] = load(args.routing_logits_dtype, args.routing_logits, t * desc.num_experts + e);
      if (std::isnan(logits[e])) {
        return invalid_argument("routing_logits: found nan at [%lld, %d], expected numbers",
                                static_cast<long long>(t), e);
      }
    }
    select_experts(desc, logits, bias, ids + t * desc.top_k, weights + t * desc.top_k);
  }
  return Status::ok();
}

/** Checks one token's chosen experts, whatever tensor they came from. */
Status check_chosen(const moe4j_layer_desc& desc, const char* tensor, int64_t token,
                    const int32_t* ids) noexcept {
  const auto t = static_cast<long long>(token);
  for (int32_t i = 0; i < desc.top_k; ++i) {
    if (ids[i] < 0 || ids[i] >= desc.num_experts) {
      return invalid_argument("%s: found expert %d at [%lld, %d], expected 0 <= id < %d", tensor,
                              ids[i], t, i, desc.num_experts);
    }
    for (int32_t j = 0; j < i; ++j) {
      if (ids[i] == ids[j]) {
        return invalid_argument(
            "%s: found expert %d at [%lld, %d] and [%lld, %d], expected each expert at most once a "
            "token",
            tensor, ids[i], t, j, t, i);
      }
    }
  }
  return Status::ok();
}

Status check_weights(const moe4j_layer_desc& desc, const char* tensor, int64_t token,
                     const float* weights) noexcept {
  for (int32_t i = 0; i < desc.top_k; ++i) {
    if (std::isnan(weights[i])) {
      return invalid_argument("%s: found a nan weight at [%lld, %d], expected numbers", tensor,
                              static_cast<long long>(token), i);
    }
  }
  return Status::ok();
}

}  // namespace

Status route_tokens(const moe4j_layer_desc& desc, const moe4j_launch_args& args, int64_t begin,
                    int64_t end, int32_t* ids, float* weights) noexcept {
  if (args.routing_mode == MOE4J_FROM_LOGITS) {
    return route_from_logits(desc, args, begin, end, ids, weights);
  }
  const bool packed = args.routing_mode == MOE4J_PACKED;
  const char* id_tensor = packed ? "topk_packed" : "topk_ids";
  const char* weight_tensor = packed ? "topk_packed" : "topk_weights";
  for (int64_t t = begin; t < end; ++t) {
    int32_t* token_ids = ids + t * desc.top_k;
    float* token_weights = weights + t * desc.top_k;
    for (int32_t i = 0; i < desc.top_k; ++i) {
      const int64_t slot = t * desc.top_k + i;
      if (packed) {
        const auto bits = static_cast<uint32_t>(args.topk_packed[slot]);
        token_ids[i] = args.topk_packed[slot] >> 16;
        token_weights[i] = bf16_to_f32(static_cast<uint16_t>(bits & 0xFFFF));
      } else {
        token_ids[i] = args.topk_ids[slot];
        token_weights[i] = load(args.topk_weights_dtype, args.topk_weights, slot);
      }
    }
    MOE4J_RETURN_IF_ERROR(check_chosen(desc, id_tensor, t, token_ids));
    MOE4J_RETURN_IF_ERROR(check_weights(desc, weight_tensor, t, token_weights));
  }
  return Status::ok();
}

}  // namespace moe4j
