package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableList;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.Routing;
import io.moe4j.RoutingSkew;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.Workspace;
import java.util.List;
import java.util.Optional;

/**
 * Runs a layer the way production does: {@link MoeLayer#run(MoeCall, Tactic, Workspace, Stream)}.
 */
final class MoeRunner implements TunableRunner {
  /** The runner's name in caches and plans. */
  static final String NAME = "layer";

  private final MoeLayer layer;
  private final CallKind kind;

  MoeRunner(MoeLayer layer, CallKind kind) {
    this.layer = layer;
    this.kind = kind;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public List<Tactic> tactics(ImmutableList<Optional<TensorSpec>> shapes) {
    return layer.tactics(shapes.get(MoeOperation.HIDDEN_STATES).orElseThrow().dim(0));
  }

  @Override
  public Prepared prepare(ImmutableList<ImmutableList<Optional<Tensor>>> inputs) {
    ImmutableList<MoeCall> calls =
        inputs.stream().map(this::call).collect(ImmutableList.toImmutableList());
    Workspace workspace = layer.newWorkspace(calls.get(0).tokens());
    return new Prepared() {
      @Override
      public void launch(int index, Tactic tactic, Stream stream) {
        layer.run(calls.get(index), tactic, workspace, stream);
      }

      @Override
      public void close() {
        workspace.close();
      }
    };
  }

  private MoeCall call(ImmutableList<Optional<Tensor>> tensors) {
    return new MoeCall(
        routing(tensors),
        new HiddenStates(
            kind.hiddenStates(),
            tensors.get(MoeOperation.HIDDEN_STATES).orElseThrow(),
            tensors.get(MoeOperation.HIDDEN_STATES_SCALES),
            1f),
        output(tensors),
        tensors.get(MoeOperation.PER_TOKEN_SCALE),
        tensors.get(MoeOperation.GEMM1_LORA_DELTA),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        RoutingSkew.UNKNOWN);
  }

  private Routing routing(ImmutableList<Optional<Tensor>> tensors) {
    Tensor first = tensors.get(MoeOperation.ROUTING).orElseThrow();
    Optional<Tensor> second = tensors.get(MoeOperation.ROUTING_SECOND);
    return switch (kind.routing()) {
      case FROM_LOGITS -> new Routing.FromLogits(first, second);
      case PACKED -> new Routing.Packed(first);
      case UNPACKED -> new Routing.Unpacked(first, second.orElseThrow());
    };
  }

  private MoeOutput output(ImmutableList<Optional<Tensor>> tensors) {
    Tensor output = tensors.get(MoeOperation.OUTPUT).orElseThrow();
    return kind.finalized()
        ? new MoeOutput.Finalized(output)
        : new MoeOutput.Permuted(
            output,
            tensors.get(MoeOperation.EXPERT_WEIGHTS).orElseThrow(),
            tensors.get(MoeOperation.EXPANDED_TO_PERMUTED).orElseThrow());
  }
}
