package io.moe4j;

import java.util.Optional;

/**
 * The routing of one launch: a different type for each of the three ways to give it, so that a
 * launch with precomputed routing cannot run, or be profiled with, a routing method.
 */
public sealed interface Routing {

  /** Which of the three ways this is. */
  RoutingMode mode();

  /** The tensor that has a row for each token. */
  Tensor rows();

  /**
   * Routing from the router's logits.
   *
   * @param logits F32 or BF16 [T, E]
   * @param bias F32 [E], for methods whose selection has a bias
   */
  record FromLogits(Tensor logits, Optional<Tensor> bias) implements Routing {
    /** Refuses nulls. */
    public FromLogits {
      Arguments.notNull("routing.logits", logits);
      Arguments.notNull("routing.bias", bias);
    }

    /** Routing from logits without a bias. */
    public FromLogits(Tensor logits) {
      this(logits, Optional.empty());
    }

    @Override
    public RoutingMode mode() {
      return RoutingMode.FROM_LOGITS;
    }

    @Override
    public Tensor rows() {
      return logits;
    }
  }

  /**
   * Precomputed routing, packed.
   *
   * @param packed I32 [T, k], expert id in the upper 16 bits, BF16 bits of the weight in the lower
   */
  record Packed(Tensor packed) implements Routing {
    /** Refuses null. */
    public Packed {
      Arguments.notNull("routing.packed", packed);
    }

    @Override
    public RoutingMode mode() {
      return RoutingMode.PACKED;
    }

    @Override
    public Tensor rows() {
      return packed;
    }
  }

  /**
   * Precomputed routing, unpacked.
   *
   * @param ids I32 [T, k], no expert twice in a row
   * @param weights F32 or BF16 [T, k]
   */
  record Unpacked(Tensor ids, Tensor weights) implements Routing {
    /** Refuses nulls. */
    public Unpacked {
      Arguments.notNull("routing.ids", ids);
      Arguments.notNull("routing.weights", weights);
    }

    @Override
    public RoutingMode mode() {
      return RoutingMode.UNPACKED;
    }

    @Override
    public Tensor rows() {
      return ids;
    }
  }
}
