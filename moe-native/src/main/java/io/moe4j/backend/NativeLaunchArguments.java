package io.moe4j.backend;

import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeOutput;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.global.moe4j;
import io.moe4j.nativelib.moe4j_launch_args;
import io.moe4j.spi.LaunchArguments;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.bytedeco.javacpp.BytePointer;

/**
 * A {@code moe4j_launch_args} that is filled from Java: the bindings' setters would cross into
 * native code once a field. Every launch writes every field, so nothing of an earlier one is left.
 */
final class NativeLaunchArguments implements LaunchArguments {
  private static final int TOKENS = offset("tokens");
  private static final int ROUTING_MODE = offset("routing_mode");
  private static final int ROUTING_LOGITS_DTYPE = offset("routing_logits_dtype");
  private static final int ROUTING_LOGITS = offset("routing_logits");
  private static final int ROUTING_BIAS = offset("routing_bias");
  private static final int TOPK_PACKED = offset("topk_packed");
  private static final int TOPK_IDS = offset("topk_ids");
  private static final int TOPK_WEIGHTS = offset("topk_weights");
  private static final int TOPK_WEIGHTS_DTYPE = offset("topk_weights_dtype");
  private static final int HIDDEN_STATES_FORMAT = offset("hidden_states_format");
  private static final int HIDDEN_STATES = offset("hidden_states");
  private static final int HIDDEN_STATES_SCALE = offset("hidden_states_scale");
  private static final int HIDDEN_STATES_TENSOR_SCALE = offset("hidden_states_tensor_scale");
  private static final int OUTPUT_DTYPE = offset("output_dtype");
  private static final int PER_TOKEN_SCALE = offset("per_token_scale");
  private static final int GEMM1_LORA_DELTA = offset("gemm1_lora_delta");
  private static final int OUTPUT = offset("output");
  private static final int ADDEND = offset("addend");
  private static final int ROUTING_REPLAY_OUT = offset("routing_replay_out");
  private static final int TOPK_IDS_OUT = offset("topk_ids_out");
  private static final int TOPK_WEIGHTS_OUT = offset("topk_weights_out");
  private static final int DO_FINALIZE = offset("do_finalize");
  private static final int TACTIC = offset("tactic");
  private static final int PERMUTED_OUTPUT = offset("permuted_output");
  private static final int EXPERT_WEIGHTS = offset("expert_weights");
  private static final int EXPANDED_TO_PERMUTED = offset("expanded_to_permuted");
  private static final int WORKSPACE = offset("workspace");
  private static final int WORKSPACE_BYTES = offset("workspace_bytes");
  private static final int STREAM = offset("stream");

  private final ByteBuffer fields = NativeStruct.allocate(moe4j_launch_args.class);
  private final moe4j_launch_args struct = new moe4j_launch_args(new BytePointer(fields));

  private static int offset(String field) {
    return NativeStruct.offset(moe4j_launch_args.class, field);
  }

  /** The struct of one launch, valid until the next fill. Allocates nothing. */
  moe4j_launch_args fill(
      MoeCall call, Tactic tactic, long workspace, long workspaceBytes, long stream) {
    fields.putLong(TOKENS, call.tokens());
    fillRouting(call.routing());
    fillHiddenStates(call.hiddenStates());
    fillOptions(call);
    fillOutput(call.output());
    fields.putInt(TACTIC, tactic.id());
    fields.putLong(WORKSPACE, workspace);
    fields.putLong(WORKSPACE_BYTES, workspaceBytes);
    fields.putLong(STREAM, stream);
    return struct;
  }

  private void fillRouting(Routing routing) {
    Tensor logits = null;
    Tensor bias = null;
    Tensor packed = null;
    Tensor ids = null;
    Tensor weights = null;
    if (routing instanceof Routing.FromLogits fromLogits) {
      logits = fromLogits.logits();
      bias = fromLogits.bias().orElse(null);
    } else if (routing instanceof Routing.Packed given) {
      packed = given.packed();
    } else if (routing instanceof Routing.Unpacked given) {
      ids = given.ids();
      weights = given.weights();
    }
    fields.putInt(ROUTING_MODE, NativeConstants.of(routing.mode()));
    fields.putInt(ROUTING_LOGITS_DTYPE, dtype(logits));
    fields.putLong(ROUTING_LOGITS, address(logits));
    fields.putLong(ROUTING_BIAS, address(bias));
    fields.putLong(TOPK_PACKED, address(packed));
    fields.putLong(TOPK_IDS, address(ids));
    fields.putLong(TOPK_WEIGHTS, address(weights));
    fields.putInt(TOPK_WEIGHTS_DTYPE, dtype(weights));
  }

  private void fillHiddenStates(HiddenStates hiddenStates) {
    QuantFormat format = hiddenStates.format();
    fields.putInt(HIDDEN_STATES_FORMAT, NativeConstants.of(format));
    fields.putLong(HIDDEN_STATES, address(hiddenStates.codes()));
    fields.putLong(HIDDEN_STATES_SCALE, address(hiddenStates.scales()));
    fields.putFloat(HIDDEN_STATES_TENSOR_SCALE, hiddenStates.tensorScale());
  }

  private void fillOptions(MoeCall call) {
    fields.putLong(PER_TOKEN_SCALE, address(call.perTokenScale()));
    fields.putLong(GEMM1_LORA_DELTA, address(call.gemm1LoraDelta()));
    fields.putLong(ROUTING_REPLAY_OUT, address(call.routingReplay()));
    fields.putLong(TOPK_IDS_OUT, address(call.topkIds()));
    fields.putLong(TOPK_WEIGHTS_OUT, address(call.topkWeights()));
  }

  private void fillOutput(MoeOutput output) {
    Tensor combined = null;
    Tensor addend = null;
    Tensor rows = null;
    Tensor expertWeights = null;
    Tensor expandedToPermuted = null;
    if (output instanceof MoeOutput.Finalized finalized) {
      combined = finalized.output();
      addend = finalized.addend().orElse(null);
    } else if (output instanceof MoeOutput.Permuted permuted) {
      rows = permuted.rows();
      expertWeights = permuted.expertWeights();
      expandedToPermuted = permuted.expandedToPermuted();
    }
    fields.putInt(DO_FINALIZE, combined == null ? 0 : 1);
    fields.putInt(OUTPUT_DTYPE, dtype(combined));
    fields.putLong(OUTPUT, address(combined));
    fields.putLong(ADDEND, address(addend));
    fields.putLong(PERMUTED_OUTPUT, address(rows));
    fields.putLong(EXPERT_WEIGHTS, address(expertWeights));
    fields.putLong(EXPANDED_TO_PERMUTED, address(expandedToPermuted));
  }

  /** The C ABI wants a valid type beside a NULL tensor, too. */
  private static int dtype(Tensor tensor) {
    return tensor == null ? moe4j.MOE4J_BF16 : NativeConstants.of(tensor.spec().dtype());
  }

  private static long address(Optional<Tensor> tensor) {
    return tensor.isPresent() ? tensor.get().address() : 0;
  }

  private static long address(Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }

  /** Nothing to free: the struct is a buffer of the JVM's. */
  @Override
  public void close() {}
}
