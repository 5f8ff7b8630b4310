package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableMap;
import io.moe4j.DType;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import io.moe4j.TensorSpec;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** A layer's calls of one kind as an operation to tune. */
public final class MoeOperation {
  // Positions of a call's tensors among the operation's inputs.
  static final int ROUTING = 0;
  static final int ROUTING_SECOND = 1;
  static final int HIDDEN_STATES = 2;
  static final int HIDDEN_STATES_SCALES = 3;
  static final int PER_TOKEN_SCALE = 4;
  static final int GEMM1_LORA_DELTA = 5;
  static final int OUTPUT = 6;
  static final int EXPERT_WEIGHTS = 7;
  static final int EXPANDED_TO_PERMUTED = 8;

  private final MoeLayer layer;
  private final MoeSpec spec;
  private final CallKind kind;

  private MoeOperation(MoeLayer layer, CallKind kind) {
    this.layer = layer;
    this.spec = layer.spec();
    this.kind = kind;
  }

  /**
   * The operation.
   *
   * @param buckets token counts to profile
   * @param blend for calls of unknown skew: the distributions to profile, each with its weight
   */
  public static TunedOperation of(
      MoeLayer layer, CallKind kind, TokenBuckets buckets, Map<RoutingSkew, Double> blend) {
    return new MoeOperation(layer, kind).operation(buckets, blend);
  }

  private TunedOperation operation(TokenBuckets buckets, Map<RoutingSkew, Double> blend) {
    TunedOperation.Builder operation =
        TunedOperation.builder(TuningFamily.of(layer, kind), layer.device())
            .runner(new MoeRunner(layer, kind))
            .weightBytes(tokens -> MoeCost.of(layer, tokens).weightBytes())
            .tolerance(tolerance(spec.activationFormat()))
            .skew(
                kind.skew(),
                kind.skew() == RoutingSkew.UNKNOWN ? blend : ImmutableMap.of(kind.skew(), 1.0));
    addRouting(operation);
    addHiddenStates(operation);
    addOptions(operation);
    addOutput(operation);
    return operation.dimension("tokens", buckets, rows()).build();
  }

  /** The axes that have an entry for each token. */
  private Axis[] rows() {
    IntStream inputs =
        IntStream.of(
            HIDDEN_STATES, HIDDEN_STATES_SCALES, ROUTING, PER_TOKEN_SCALE, GEMM1_LORA_DELTA);
    // The second tensor of routing from logits is a bias; permuted rows follow by a constraint.
    IntStream weights =
        kind.routing() == RoutingMode.UNPACKED ? IntStream.of(ROUTING_SECOND) : IntStream.empty();
    IntStream outputs = IntStream.of(kind.finalized() ? OUTPUT : EXPERT_WEIGHTS);
    return Stream.of(inputs, weights, outputs)
        .flatMap(IntStream::boxed)
        .map(input -> new Axis(input, 0))
        .toArray(Axis[]::new);
  }

  /**
   * Two correct results lie at most twice as far apart as each may lie from the exact one: 4e-3 for
   * exact products of BF16 inputs, 2e-2 where activations are quantized.
   */
  private static double tolerance(QuantFormat activationFormat) {
    return activationFormat == QuantFormat.BF16 ? 8e-3 : 4e-2;
  }

  private void addRouting(TunedOperation.Builder operation) {
    ExpertSampler sampler = new ExpertSampler(spec);
    TensorSpec perExpert = TensorSpec.of(DType.I32, 1, spec.topK());
    switch (kind.routing()) {
      case FROM_LOGITS -> {
        TensorSpec logits = TensorSpec.of(DType.F32, 1, spec.numExperts());
        operation.input(bySkew(logits, Initializers.routerLogits(sampler)));
        operation.input(
            spec.routing().method().usesBias()
                ? made(TensorSpec.of(DType.F32, spec.numExperts()), Initializers.zeros())
                : new ProfileInput.Absent());
      }
      case PACKED -> {
        operation.input(bySkew(perExpert, Initializers.packedExperts(sampler)));
        operation.input(new ProfileInput.Absent());
      }
      case UNPACKED -> {
        operation.input(bySkew(perExpert, Initializers.expertIds(sampler)));
        operation.input(
            made(TensorSpec.of(DType.F32, 1, spec.topK()), Initializers.expertWeights()));
      }
    }
  }

  private void addHiddenStates(TunedOperation.Builder operation) {
    QuantFormat format = kind.hiddenStates();
    operation.input(made(format.codesSpec(1, spec.hiddenSize()), Initializers.random()));
    operation.input(
        format.hasScales()
            ? made(format.scalesSpec(1, spec.hiddenSize()), Initializers.scales())
            : new ProfileInput.Absent());
  }

  private void addOptions(TunedOperation.Builder operation) {
    operation.input(
        kind.perTokenScale()
            ? made(TensorSpec.of(DType.F32, 1), Initializers.ones())
            : new ProfileInput.Absent());
    operation.input(
        kind.gemm1LoraDelta()
            ? made(
                TensorSpec.of(DType.BF16, 1, spec.topK(), spec.gemm1Rows()), Initializers.random())
            : new ProfileInput.Absent());
  }

  private void addOutput(TunedOperation.Builder operation) {
    long rows = spec.expandedTopK();
    TensorSpec output = TensorSpec.of(DType.BF16, 1, spec.hiddenSize());
    operation.input(made(output, Initializers.zeros())).output(OUTPUT);
    if (kind.finalized()) {
      operation.input(new ProfileInput.Absent()).input(new ProfileInput.Absent());
      return;
    }
    operation.input(made(TensorSpec.of(DType.F32, 1, rows), Initializers.zeros()));
    operation.input(made(TensorSpec.of(DType.I32, rows), Initializers.zeros()));
    operation.output(EXPERT_WEIGHTS).output(EXPANDED_TO_PERMUTED);
    for (int position : new int[] {OUTPUT, EXPANDED_TO_PERMUTED}) {
      operation.constraint(
          new ShapeConstraint(
              new Axis(position, 0),
              shapes -> shapes.get(HIDDEN_STATES).orElseThrow().dim(0) * rows));
    }
  }

  private static ProfileInput made(TensorSpec spec, TensorInitializer initializer) {
    return new ProfileInput.Synthesized(spec, initializer, false);
  }

  private static ProfileInput bySkew(TensorSpec spec, TensorInitializer initializer) {
    return new ProfileInput.Synthesized(spec, initializer, true);
  }
}
