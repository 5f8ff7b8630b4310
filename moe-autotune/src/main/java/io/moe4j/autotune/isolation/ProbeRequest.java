package io.moe4j.autotune.isolation;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.moe4j.Activation;
import io.moe4j.DeviceOptions;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.RoutingSpec;
import io.moe4j.autotune.profile.CallKind;
import java.io.IOException;

/**
 * What the other process launches.
 *
 * @param device name of the device
 * @param options how to open it
 * @param spec the layer, without its weights
 * @param bias whether its experts have biases
 * @param kind kind of calls
 */
record ProbeRequest(
    String device, DeviceOptions options, MoeSpec spec, boolean bias, CallKind kind) {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** One line, as {@link #parse} reads it. */
  String toJson() throws IOException {
    ObjectNode node = MAPPER.createObjectNode().put("device", device).put("bias", bias);
    node.putObject("options")
        .put("threads", options.threads())
        .put("max_instruction_set", options.maxInstructionSet());
    putSpec(node.putObject("spec"));
    putKind(node.putObject("kind"));
    return MAPPER.writeValueAsString(node);
  }

  private void putSpec(ObjectNode node) {
    node.put("weights", spec.weightFormat().name())
        .put("activations", spec.activationFormat().name())
        .put("hidden", spec.hiddenSize())
        .put("intermediate", spec.intermediateSize())
        .put("experts", spec.numExperts())
        .put("topk", spec.topK())
        .put("activation", spec.activation().name())
        .put("method", spec.routing().method().name())
        .put("groups", spec.routing().numGroups())
        .put("topk_groups", spec.routing().topkGroups())
        .put("scaling", spec.routing().scalingFactor())
        .put("norm", spec.routing().normTopkProb())
        .put("local_offset", spec.expertParallel().localExpertOffset())
        .put("local_experts", spec.expertParallel().localNumExperts())
        .put("shared_experts", spec.numFusedSharedExperts());
  }

  private void putKind(ObjectNode node) {
    node.put("routing", kind.routing().name())
        .put("input", kind.hiddenStates().name())
        .put("finalized", kind.finalized())
        .put("lora", kind.gemm1LoraDelta())
        .put("token_scale", kind.perTokenScale());
  }

  static ProbeRequest parse(String json) throws IOException {
    JsonNode node = MAPPER.readTree(json);
    JsonNode options = node.get("options");
    return new ProbeRequest(
        node.get("device").asText(),
        new DeviceOptions(
            options.get("threads").asInt(), options.get("max_instruction_set").asText()),
        spec(node.get("spec")),
        node.get("bias").asBoolean(),
        kind(node.get("kind")));
  }

  private static MoeSpec spec(JsonNode node) {
    return MoeSpec.builder()
        .weightFormat(QuantFormat.valueOf(node.get("weights").asText()))
        .activationFormat(QuantFormat.valueOf(node.get("activations").asText()))
        .hiddenSize(node.get("hidden").asInt())
        .intermediateSize(node.get("intermediate").asInt())
        .numExperts(node.get("experts").asInt())
        .topK(node.get("topk").asInt())
        .activation(Activation.valueOf(node.get("activation").asText()))
        .routing(
            new RoutingSpec(
                RoutingMethod.valueOf(node.get("method").asText()),
                node.get("groups").asInt(),
                node.get("topk_groups").asInt(),
                (float) node.get("scaling").asDouble(),
                node.get("norm").asBoolean()))
        .expertParallel(node.get("local_offset").asInt(), node.get("local_experts").asInt())
        .numFusedSharedExperts(node.get("shared_experts").asInt())
        .build();
  }

  private static CallKind kind(JsonNode node) {
    return new CallKind(
        RoutingMode.valueOf(node.get("routing").asText()),
        QuantFormat.valueOf(node.get("input").asText()),
        node.get("finalized").asBoolean(),
        node.get("lora").asBoolean(),
        node.get("token_scale").asBoolean(),
        RoutingSkew.UNKNOWN);
  }
}
