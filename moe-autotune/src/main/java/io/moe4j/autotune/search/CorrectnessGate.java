package io.moe4j.autotune.search;

import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.RoutingSkew;
import io.moe4j.Stream;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.autotune.profile.ProfileInputs;
import io.moe4j.autotune.profile.TunedOperation;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Lets no tactic win whose output is not the default's, to the operation's tolerance. Outputs are
 * filled with a pattern before a run, so that a tactic that writes too little is found out. Looks
 * at the first copy of each distribution's inputs. Confined to one thread.
 */
final class CorrectnessGate {
  /** Elements of an output that are compared; of more, evenly spread ones are. */
  private static final long MAX_COMPARED = 1 << 23;

  /** NaN as a float of either width. */
  private static final byte FLOAT_PATTERN = (byte) 0xFF;

  /** As an index, far beyond any other. */
  private static final byte INTEGER_PATTERN = 0x7F;

  private final TunedOperation operation;
  private final ProfileInputs inputs;
  private final Map<RoutingSkew, Map<Integer, int[]>> references = new EnumMap<>(RoutingSkew.class);
  private byte[] scratch = new byte[0];

  CorrectnessGate(TunedOperation operation, ProfileInputs inputs) {
    this.operation = operation;
    this.inputs = inputs;
  }

  /** Fills the outputs with a pattern that no launch writes. */
  void poison(RoutingSkew skew) {
    for (int output : operation.outputs()) {
      Tensor tensor = tensor(skew, output);
      byte[] bytes = scratch(tensor);
      Arrays.fill(bytes, 0, (int) tensor.spec().bytes(), pattern(tensor.spec().dtype()));
      operation.device().copyToDevice(tensor, buffer(tensor), Stream.DEFAULT);
    }
  }

  /** Keeps what the default has just written; says what is wrong with it, if anything. */
  Optional<String> acceptReference(RoutingSkew skew) {
    Map<Integer, int[]> reference = new HashMap<>();
    for (int output : operation.outputs()) {
      TensorSpec spec = tensor(skew, output).spec();
      int[] bits = read(skew, output);
      for (int value : bits) {
        if (isFloat(spec) && value != poisonBits(spec) && !Float.isFinite(toFloat(value))) {
          return Optional.of("output " + output + " of the default tactic is not finite");
        }
      }
      reference.put(output, bits);
    }
    references.put(skew, reference);
    return Optional.empty();
  }

  /** How what a tactic has just written differs from the default's; empty if it agrees. */
  Optional<String> disagreement(RoutingSkew skew) {
    for (int output : operation.outputs()) {
      TensorSpec spec = tensor(skew, output).spec();
      int[] expected = references.get(skew).get(output);
      int[] found = read(skew, output);
      Optional<String> difference =
          isFloat(spec)
              ? floatDifference(expected, found, poisonBits(spec))
              : integerDifference(expected, found);
      if (difference.isPresent()) {
        return difference.map(text -> "output " + output + " for " + skew + " routing " + text);
      }
    }
    return Optional.empty();
  }

  private Optional<String> floatDifference(int[] expected, int[] found, int poison) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      // What the default leaves alone, e.g. rows of remote experts, belongs to nobody.
      if (expected[i] != poison) {
        float value = toFloat(found[i]);
        if (!Float.isFinite(value)) {
          return Optional.of(found[i] == poison ? "is not written everywhere" : "is not finite");
        }
        double reference = toFloat(expected[i]);
        difference += (value - reference) * (value - reference);
        norm += reference * reference;
      }
    }
    double distance = difference == 0 ? 0 : Math.sqrt(difference / norm);
    return distance <= operation.tolerance()
        ? Optional.empty()
        : Optional.of(
            "is "
                + (float) distance
                + " away from the default's (relative L2), more than "
                + (float) operation.tolerance());
  }

  private static Optional<String> integerDifference(int[] expected, int[] found) {
    int at = Arrays.mismatch(expected, found);
    return at < 0
        ? Optional.empty()
        : Optional.of("is " + found[at] + " where the default's is " + expected[at]);
  }

  /** Some or all of an output's elements: the bits of floats as F32, integers as they are. */
  private int[] read(RoutingSkew skew, int output) {
    Tensor tensor = tensor(skew, output);
    ByteBuffer bytes = buffer(tensor);
    operation.device().copyToHost(tensor, bytes, Stream.DEFAULT);
    long elements = tensor.spec().elements();
    int step = (int) ((elements + MAX_COMPARED - 1) / MAX_COMPARED);
    int[] bits = new int[step == 0 ? 0 : (int) ((elements + step - 1) / step)];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = bits(tensor.spec().dtype(), bytes, i * step);
    }
    return bits;
  }

  private static int bits(DType dtype, ByteBuffer bytes, int i) {
    return switch (dtype) {
      case F32, I32 -> bytes.getInt(4 * i);
      case BF16 -> bytes.getShort(2 * i) << 16;
      case I16 -> bytes.getShort(2 * i);
      case U8, E4M3, UE8M0, E2M1X2 -> bytes.get(i);
    };
  }

  private static boolean isFloat(TensorSpec spec) {
    return spec.dtype() == DType.F32 || spec.dtype() == DType.BF16;
  }

  private static float toFloat(int bits) {
    return Float.intBitsToFloat(bits);
  }

  private static byte pattern(DType dtype) {
    return dtype == DType.F32 || dtype == DType.BF16 ? FLOAT_PATTERN : INTEGER_PATTERN;
  }

  private static int poisonBits(TensorSpec spec) {
    return spec.dtype() == DType.BF16 ? 0xFFFF0000 : 0xFFFFFFFF;
  }

  private Tensor tensor(RoutingSkew skew, int output) {
    return inputs
        .rows()
        .get(inputs.index(skew, 0))
        .get(output)
        .orElseThrow(
            () -> new InvalidArgumentException("outputs", output, "an input that is there"));
  }

  private ByteBuffer buffer(Tensor tensor) {
    return ByteBuffer.wrap(scratch(tensor), 0, (int) tensor.spec().bytes())
        .order(ByteOrder.LITTLE_ENDIAN);
  }

  private byte[] scratch(Tensor tensor) {
    int bytes = (int) tensor.spec().bytes();
    if (scratch.length < bytes) {
      scratch = new byte[bytes];
    }
    return scratch;
  }
}
