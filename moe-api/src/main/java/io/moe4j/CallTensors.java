package io.moe4j;

import java.util.Optional;

/** Holds the tensors of a call open while it is launched. Allocates nothing. */
final class CallTensors {
  private CallTensors() {}

  /** Marks every tensor as in use, or none: a closed one is refused. */
  static void acquire(MoeCall call) {
    int acquired = 0;
    try {
      for (; acquired < COUNT; acquired++) {
        Tensor tensor = tensor(call, acquired);
        if (tensor != null) {
          tensor.acquire();
        }
      }
    } finally {
      if (acquired < COUNT) {
        release(call, acquired);
      }
    }
  }

  /** Ends what {@link #acquire} began. */
  static void release(MoeCall call) {
    release(call, COUNT);
  }

  private static void release(MoeCall call, int count) {
    for (int i = 0; i < count; i++) {
      Tensor tensor = tensor(call, i);
      if (tensor != null) {
        tensor.release();
      }
    }
  }

  /** Number of places a call has for tensors. */
  static final int COUNT = 12;

  /** The tensor in a place of a call, or null. */
  static Tensor tensor(MoeCall call, int place) {
    return switch (place) {
      case 0 -> call.routing().rows();
      case 1 -> secondRouting(call.routing());
      case 2 -> call.hiddenStates().codes();
      case 3 -> orNull(call.hiddenStates().scales());
      case 4 -> orNull(call.perTokenScale());
      case 5 -> orNull(call.gemm1LoraDelta());
      case 6 -> orNull(call.routingReplay());
      case 7 -> orNull(call.topkIds());
      case 8 -> orNull(call.topkWeights());
      default -> output(call.output(), place - 9);
    };
  }

  private static Tensor secondRouting(Routing routing) {
    if (routing instanceof Routing.FromLogits fromLogits) {
      return orNull(fromLogits.bias());
    }
    return routing instanceof Routing.Unpacked unpacked ? unpacked.weights() : null;
  }

  private static Tensor output(MoeOutput output, int place) {
    if (output instanceof MoeOutput.Finalized finalized) {
      return switch (place) {
        case 0 -> finalized.output();
        case 1 -> orNull(finalized.addend());
        default -> null;
      };
    }
    MoeOutput.Permuted permuted = (MoeOutput.Permuted) output;
    return switch (place) {
      case 0 -> permuted.rows();
      case 1 -> permuted.expertWeights();
      default -> permuted.expandedToPermuted();
    };
  }

  private static Tensor orNull(Optional<Tensor> tensor) {
    return tensor.orElse(null);
  }
}
