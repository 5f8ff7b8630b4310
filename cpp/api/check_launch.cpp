#include "api/check_launch.hpp"

#include "api/checks.hpp"
#include "api/dtypes.hpp"
#include "api/tensor_list.hpp"
#include "formats/block_format.hpp"
#include "routing/routing_methods.hpp"
#include "support/layer_desc.hpp"
#include "support/limits.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

/** Everything that is a number: enums, flags, scales. */
Status check_values(const moe4j_layer_desc& desc, const moe4j_launch_args& args) noexcept {
  MOE4J_RETURN_IF_ERROR(check_range("tokens", args.tokens, 0, kMaxTokens));
  MOE4J_RETURN_IF_ERROR(
      check_range("routing_mode", args.routing_mode, MOE4J_FROM_LOGITS, MOE4J_UNPACKED));
  if (args.routing_mode == MOE4J_FROM_LOGITS) {
    MOE4J_RETURN_IF_ERROR(check_float_dtype("routing_logits_dtype", args.routing_logits_dtype));
  } else if (args.routing_mode == MOE4J_UNPACKED) {
    MOE4J_RETURN_IF_ERROR(check_float_dtype("topk_weights_dtype", args.topk_weights_dtype));
  }
  const BlockFormat activations = block_format(desc.activation_format);
  if (args.hidden_states_format != MOE4J_FORMAT_BF16 &&
      (args.hidden_states_format != desc.activation_format || !activations.has_scales)) {
    const char* or_codes = activations.has_scales ? " or " : "";
    return invalid_argument(
        "hidden_states_format: found %d (%s), expected BF16%s%s", args.hidden_states_format,
        is_format(args.hidden_states_format) ? block_format(args.hidden_states_format).name
                                             : "unknown",
        or_codes, *or_codes == '\0' ? "" : activations.name);
  }
  MOE4J_RETURN_IF_ERROR(check_tensor_scale("hidden_states_tensor_scale", args.hidden_states_format,
                                           args.hidden_states_tensor_scale));
  MOE4J_RETURN_IF_ERROR(check_float_dtype("output_dtype", args.output_dtype));
  return check_range("do_finalize", args.do_finalize, 0, 1);
}

void list_routing(const moe4j_layer_desc& desc, const moe4j_launch_args& args,
                  TensorList* tensors) {
  const int64_t chosen = args.tokens * desc.top_k;
  if (args.routing_mode == MOE4J_FROM_LOGITS) {
    tensors->reads("routing_logits", args.routing_logits, args.tokens * desc.num_experts,
                   float_bytes(args.routing_logits_dtype));
  } else {
    tensors->unused("routing_logits", args.routing_logits, "with precomputed routing");
  }
  if (args.routing_mode == MOE4J_FROM_LOGITS && routing_method(desc).has_bias) {
    tensors->may_read("routing_bias", args.routing_bias, desc.num_experts, sizeof(float));
  } else {
    tensors->unused("routing_bias", args.routing_bias,
                    "unless DeepSeekV3 or MiniMax2 routing runs");
  }
  if (args.routing_mode == MOE4J_PACKED) {
    tensors->reads("topk_packed", args.topk_packed, chosen, sizeof(int32_t));
  } else {
    tensors->unused("topk_packed", args.topk_packed, "unless the routing mode is packed");
  }
  if (args.routing_mode == MOE4J_UNPACKED) {
    tensors->reads("topk_ids", args.topk_ids, chosen, sizeof(int32_t));
    tensors->reads("topk_weights", args.topk_weights, chosen, float_bytes(args.topk_weights_dtype));
  } else {
    tensors->unused("topk_ids", args.topk_ids, "unless the routing mode is unpacked");
    tensors->unused("topk_weights", args.topk_weights, "unless the routing mode is unpacked");
  }
  tensors->may_write("routing_replay_out", args.routing_replay_out, chosen, sizeof(int16_t));
  tensors->may_write("topk_ids_out", args.topk_ids_out, chosen, sizeof(int32_t));
  tensors->may_write("topk_weights_out", args.topk_weights_out, chosen, sizeof(float));
}

void list_inputs(const moe4j_layer_desc& desc, const moe4j_launch_args& args, TensorList* tensors) {
  const BlockFormat format = block_format(args.hidden_states_format);
  if (format.has_scales) {
    tensors->reads("hidden_states", args.hidden_states,
                   args.tokens * format.code_bytes(desc.hidden_size), 1);
    tensors->reads("hidden_states_scale", args.hidden_states_scale,
                   args.tokens * format.scale_bytes(desc.hidden_size), 1);
  } else {
    tensors->reads("hidden_states", args.hidden_states, args.tokens * desc.hidden_size,
                   sizeof(uint16_t));
    tensors->unused("hidden_states_scale", args.hidden_states_scale, "for BF16 hidden states");
  }
  tensors->may_read("per_token_scale", args.per_token_scale, args.tokens, sizeof(float));

  const int64_t gemm1_rows = int64_t{desc.intermediate_size} * (has_gate(desc.activation) ? 2 : 1);
  tensors->may_read("gemm1_lora_delta", args.gemm1_lora_delta,
                    args.tokens * desc.top_k * gemm1_rows, sizeof(uint16_t));
}

void list_outputs(const moe4j_layer_desc& desc, const moe4j_launch_args& args,
                  TensorList* tensors) {
  const int64_t elements = args.tokens * desc.hidden_size;
  if (args.do_finalize != 0) {
    tensors->writes("output", args.output, elements, float_bytes(args.output_dtype));
    tensors->may_read("addend", args.addend, elements, sizeof(float));
    const char* reason = "unless do_finalize is 0";
    tensors->unused("permuted_output", args.permuted_output, reason);
    tensors->unused("expert_weights", args.expert_weights, reason);
    tensors->unused("expanded_to_permuted", args.expanded_to_permuted, reason);
  } else {
    const int64_t expanded = args.tokens * slots_per_token(desc);
    tensors->unused("output", args.output, "if do_finalize is 0");
    tensors->unused("addend", args.addend, "if do_finalize is 0");
    tensors->writes("permuted_output", args.permuted_output, expanded * desc.hidden_size,
                    sizeof(uint16_t));
    tensors->writes("expert_weights", args.expert_weights, expanded, sizeof(float));
    tensors->writes("expanded_to_permuted", args.expanded_to_permuted, expanded, sizeof(int32_t));
  }
}

/** The largest tensors there can be, in bytes: after this check no product overflows. */
Status check_sizes(const moe4j_layer_desc& desc, const moe4j_launch_args& args) noexcept {
  const int64_t slots = slots_per_token(desc);
  if (args.do_finalize == 0) {  // expanded_to_permuted counts rows in 32 bits
    MOE4J_RETURN_IF_ERROR(check_range("tokens", args.tokens, 0, INT32_MAX / slots));
  }
  MOE4J_RETURN_IF_ERROR(check_size("tokens", {args.tokens, slots, desc.hidden_size, 4}));
  return check_size("tokens", {args.tokens, slots, desc.intermediate_size, 8});
}

}  // namespace

Status check_launch(const Layer& layer, int32_t device_kind,
                    const moe4j_launch_args& args) noexcept {
  const moe4j_layer_desc& desc = layer.desc();
  MOE4J_RETURN_IF_ERROR(check_values(desc, args));
  MOE4J_RETURN_IF_ERROR(check_sizes(desc, args));
  MOE4J_RETURN_IF_ERROR(check_stream(device_kind, args.stream));

  int64_t workspace_bytes = 0;
  MOE4J_RETURN_IF_ERROR(layer.workspace_bytes(args.tactic, args.tokens, &workspace_bytes));
  if (args.workspace_bytes < workspace_bytes) {
    return invalid_argument("workspace_bytes: found %lld, expected %lld or more",
                            static_cast<long long>(args.workspace_bytes),
                            static_cast<long long>(workspace_bytes));
  }

  TensorList tensors;
  list_routing(desc, args, &tensors);
  list_inputs(desc, args, &tensors);
  list_outputs(desc, args, &tensors);
  if (workspace_bytes > 0) {
    MOE4J_RETURN_IF_ERROR(check_pointer("workspace", args.workspace, MOE4J_ALIGNMENT));
    tensors.writes("workspace", args.workspace, workspace_bytes, 1);
  }
  return tensors.check();
}

}  // namespace moe4j
