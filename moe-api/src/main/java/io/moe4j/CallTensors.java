package io.moe4j;

import java.util.Optional;

/**
 * The tensors of a call, one a place, to go over them without allocating: to hold them open while
 * the call is launched, and to name them when something is wrong.
 */
final class CallTensors {
  /** Number of places a call has for tensors. */
  static final int COUNT = 12;

  /** Places from here on are written, but for the addend. */
  static final int FIRST_WRITTEN = 6;

  private static final int FIRST_OUTPUT = 9;
  private static final int ADDEND = 10;

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
    } catch (ClosedException e) {
      throw new ClosedException(name(call, acquired) + ": " + e.getMessage(), e);
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
      default -> output(call.output(), place - FIRST_OUTPUT);
    };
  }

  /** Whether a launch writes to the tensor in a place. */
  static boolean isWritten(MoeCall call, int place) {
    return place >= FIRST_WRITTEN
        && !(place == ADDEND && call.output() instanceof MoeOutput.Finalized);
  }

  /** What messages call the tensor in a place. */
  static String name(MoeCall call, int place) {
    boolean finalized = call.output() instanceof MoeOutput.Finalized;
    return switch (place) {
      case 0 ->
          switch (call.routing().mode()) {
            case FROM_LOGITS -> "routing.logits";
            case PACKED -> "routing.packed";
            case UNPACKED -> "routing.ids";
          };
      case 1 ->
          call.routing().mode() == RoutingMode.FROM_LOGITS ? "routing.bias" : "routing.weights";
      case 2 -> "hiddenStates";
      case 3 -> "hiddenStates.scales";
      case 4 -> "perTokenScale";
      case 5 -> "gemm1LoraDelta";
      case 6 -> "routingReplay";
      case 7 -> "topkIds";
      case 8 -> "topkWeights";
      case 9 -> finalized ? "output" : "output.rows";
      case 10 -> finalized ? "addend" : "output.expertWeights";
      default -> "output.expandedToPermuted";
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
