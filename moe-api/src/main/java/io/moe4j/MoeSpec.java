package io.moe4j;

import java.util.Arrays;
import java.util.function.Predicate;

/**
 * Everything about a Mixture-of-Experts layer that its weights do not say. Immutable; made by
 * {@link #builder}.
 *
 * @param weightFormat BF16, NVFP4 or MXFP4
 * @param activationFormat format of the inputs of both matrix multiplications: BF16 for exact
 *     products, NVFP4, MXFP8, FP8_PER_TOKEN or, on CPUs and with FP4 weights, INT8 for quantized
 *     ones
 * @param hiddenSize H, a multiple of both formats' blocks
 * @param intermediateSize I, a multiple of both formats' blocks
 * @param numExperts E, routed experts of the whole layer
 * @param topK k, experts of each token
 * @param activation function between the two multiplications
 * @param routing how experts are chosen when a launch starts from logits
 * @param expertParallel the experts that are held here
 * @param numFusedSharedExperts S, experts that every token goes to with weight 1, stored after the
 *     routed ones; DeepSeekV3 routing only, not together with expert parallelism
 */
public record MoeSpec(
    QuantFormat weightFormat,
    QuantFormat activationFormat,
    int hiddenSize,
    int intermediateSize,
    int numExperts,
    int topK,
    Activation activation,
    RoutingSpec routing,
    ExpertParallel expertParallel,
    int numFusedSharedExperts) {

  /** Largest hidden and intermediate size. */
  public static final int MAX_SIZE = 1 << 24;

  /** Most experts that a layer may have. */
  public static final int MAX_EXPERTS = 1024;

  /** Most experts that a token may have. */
  public static final int MAX_TOP_K = 32;

  /** Checks every bound and combination; see the parameters. */
  public MoeSpec {
    Arguments.notNull("weightFormat", weightFormat);
    Arguments.notNull("activationFormat", activationFormat);
    Arguments.notNull("activation", activation);
    Arguments.notNull("routing", routing);
    Arguments.notNull("expertParallel", expertParallel);
    checkFormat("weightFormat", weightFormat, QuantFormat::isForWeights);
    checkFormat("activationFormat", activationFormat, QuantFormat::isForActivations);
    if (activationFormat == QuantFormat.INT8 && weightFormat == QuantFormat.BF16) {
      throw new InvalidArgumentException(
          "activationFormat", activationFormat, "another for BF16 weights");
    }
    int block = Math.max(weightFormat.block(), activationFormat.block());
    checkSize("hiddenSize", hiddenSize, block);
    checkSize("intermediateSize", intermediateSize, block);
    checkRange("numExperts", numExperts, 1, MAX_EXPERTS);
    checkRange("topK", topK, 1, Math.min(numExperts, MAX_TOP_K));
    if (routing.method() == RoutingMethod.LLAMA4 && topK != 1) {
      throw new InvalidArgumentException("topK", topK, "1 for " + routing.method());
    }
    if (numExperts % routing.numGroups() != 0) {
      throw new InvalidArgumentException(
          "numGroups", routing.numGroups(), "a divisor of numExperts = " + numExperts);
    }
    if (topK > numExperts / routing.numGroups() * routing.topkGroups()) {
      throw new InvalidArgumentException(
          "topK",
          topK,
          "at most the experts of the kept groups, "
              + numExperts / routing.numGroups() * routing.topkGroups());
    }
    if (expertParallel.localExpertOffset() > numExperts - expertParallel.localNumExperts()) {
      throw new InvalidArgumentException(
          "expertParallel", expertParallel, "a slice of numExperts = " + numExperts);
    }
    checkRange("numFusedSharedExperts", numFusedSharedExperts, 0, MAX_TOP_K);
    if (numFusedSharedExperts > 0
        && (routing.method() != RoutingMethod.DEEPSEEK_V3
            || expertParallel.localNumExperts() != numExperts)) {
      throw new InvalidArgumentException(
          "numFusedSharedExperts",
          numFusedSharedExperts,
          "0, except with DeepSeekV3 routing and all experts local");
    }
  }

  private static void checkFormat(
      String name, QuantFormat format, Predicate<QuantFormat> isPossible) {
    if (!isPossible.test(format)) {
      throw new InvalidArgumentException(
          name,
          format,
          "one of " + Arrays.stream(QuantFormat.values()).filter(isPossible).toList());
    }
  }

  private static void checkSize(String name, int size, int block) {
    if (size < 1 || size > MAX_SIZE || size % block != 0) {
      throw new InvalidArgumentException(
          name, size, "a positive multiple of " + block + " up to " + MAX_SIZE);
    }
  }

  private static void checkRange(String name, int value, int min, int max) {
    if (value < min || value > max) {
      throw new InvalidArgumentException(name, value, min + " to " + max);
    }
  }

  /** Experts whose weights this device holds: the local routed ones, then the shared ones. */
  public int numHeldExperts() {
    return expertParallel.localNumExperts() + numFusedSharedExperts;
  }

  /** Rows of GEMM1's result for one token and expert: 2I with a gate, I without. */
  public int gemm1Rows() {
    return activation.gated() ? 2 * intermediateSize : intermediateSize;
  }

  /** Experts that each token is expanded to: top-k and the fused shared ones. */
  public int expandedTopK() {
    return topK + numFusedSharedExperts;
  }

  /** This layer with inputs of other formats. */
  public MoeSpec withActivationFormat(QuantFormat format) {
    return toBuilder().activationFormat(format).build();
  }

  /** This layer on a device that holds a slice of its experts. */
  public MoeSpec withExpertParallel(int localExpertOffset, int localNumExperts) {
    return toBuilder().expertParallel(localExpertOffset, localNumExperts).build();
  }

  private Builder toBuilder() {
    Builder builder =
        builder()
            .weightFormat(weightFormat)
            .activationFormat(activationFormat)
            .hiddenSize(hiddenSize)
            .intermediateSize(intermediateSize)
            .numExperts(numExperts)
            .topK(topK)
            .activation(activation)
            .routing(routing)
            .numFusedSharedExperts(numFusedSharedExperts);
    builder.expertParallel = expertParallel;
    return builder;
  }

  /** Starts a spec; what is not set has the default that {@link Builder} names. */
  public static Builder builder() {
    return new Builder();
  }

  /** Collects the parts of a {@link MoeSpec}. Not thread safe. */
  public static final class Builder {
    private QuantFormat weightFormat = QuantFormat.NVFP4;
    private QuantFormat activationFormat = QuantFormat.BF16;
    private int hiddenSize;
    private int intermediateSize;
    private int numExperts;
    private int topK;
    private Activation activation = Activation.SWIGLU;
    private RoutingSpec routing = RoutingSpec.of(RoutingMethod.RENORMALIZE);
    private ExpertParallel expertParallel;
    private int numFusedSharedExperts;

    private Builder() {}

    /** Format of the weights; NVFP4 by default. */
    public Builder weightFormat(QuantFormat format) {
      this.weightFormat = format;
      return this;
    }

    /** Format of multiplication inputs; BF16 by default. */
    public Builder activationFormat(QuantFormat format) {
      this.activationFormat = format;
      return this;
    }

    /** H. */
    public Builder hiddenSize(int size) {
      this.hiddenSize = size;
      return this;
    }

    /** I. */
    public Builder intermediateSize(int size) {
      this.intermediateSize = size;
      return this;
    }

    /** E. */
    public Builder numExperts(int count) {
      this.numExperts = count;
      return this;
    }

    /** k. */
    public Builder topK(int topK) {
      this.topK = topK;
      return this;
    }

    /** SwiGLU by default. */
    public Builder activation(Activation activation) {
      this.activation = activation;
      return this;
    }

    /** Renormalize by default. */
    public Builder routing(RoutingSpec routing) {
      this.routing = routing;
      return this;
    }

    /** All experts by default. */
    public Builder expertParallel(int localExpertOffset, int localNumExperts) {
      this.expertParallel = new ExpertParallel(localExpertOffset, localNumExperts);
      return this;
    }

    /** S; 0 by default. */
    public Builder numFusedSharedExperts(int count) {
      this.numFusedSharedExperts = count;
      return this;
    }

    /** The spec; refused with the name of what does not fit. */
    public MoeSpec build() {
      checkRange("numExperts", numExperts, 1, MAX_EXPERTS);
      return new MoeSpec(
          weightFormat,
          activationFormat,
          hiddenSize,
          intermediateSize,
          numExperts,
          topK,
          activation,
          routing,
          expertParallel == null ? new ExpertParallel(0, numExperts) : expertParallel,
          numFusedSharedExperts);
    }
  }
}
