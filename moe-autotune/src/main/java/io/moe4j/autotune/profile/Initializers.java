package io.moe4j.autotune.profile;

import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.RoutingSkew;
import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/** Contents for the inputs of profiles. */
public final class Initializers {
  private static final int BF16_ONE = 0x3F80;
  private static final int E4M3_ONE = 0x38;
  private static final int UE8M0_ONE = 127;

  private Initializers() {}

  /** Every byte zero. */
  public static TensorInitializer zeros() {
    return (spec, draw, contents) -> {
      for (int i = 0; i < contents.limit(); i++) {
        contents.put(i, (byte) 0);
      }
    };
  }

  /** The number 1 in every element. */
  public static TensorInitializer ones() {
    return (spec, draw, contents) -> {
      for (int i = 0; i < spec.elements(); i++) {
        putOne(spec.dtype(), contents, i);
      }
    };
  }

  private static void putOne(DType dtype, ByteBuffer contents, int i) {
    switch (dtype) {
      case F32 -> contents.putFloat(4 * i, 1f);
      case BF16 -> contents.putShort(2 * i, (short) BF16_ONE);
      case I32 -> contents.putInt(4 * i, 1);
      case I16 -> contents.putShort(2 * i, (short) 1);
      case U8 -> contents.put(i, (byte) 1);
      case E4M3 -> contents.put(i, (byte) E4M3_ONE);
      case UE8M0 -> contents.put(i, (byte) UE8M0_ONE);
      case E2M1X2 -> contents.put(i, (byte) 0x22);
    }
  }

  /**
   * Finite numbers of either sign and of about one magnitude, the default: an operation's time may
   * depend on zeros, infinities and subnormals. Integers are zero.
   */
  public static TensorInitializer random() {
    return (spec, draw, contents) -> {
      SplittableRandom random = draw.random();
      long elements = spec.elements();
      for (int i = 0; i < elements; i++) {
        putRandom(spec.dtype(), contents, i, random.nextInt());
      }
    };
  }

  private static void putRandom(DType dtype, ByteBuffer contents, int i, int bits) {
    switch (dtype) {
      // Any sign and fraction with an exponent of -3 to 0: magnitudes of 1/8 to 2.
      case F32 -> contents.putInt(4 * i, (bits & 0x807FFFFF) | ((124 + (bits >>> 23 & 3)) << 23));
      case BF16 ->
          contents.putShort(2 * i, (short) ((bits & 0x807F) | ((124 + (bits >>> 7 & 3)) << 7)));
      case I32 -> contents.putInt(4 * i, 0);
      case I16 -> contents.putShort(2 * i, (short) 0);
      case U8, E2M1X2 -> contents.put(i, (byte) bits);
      case E4M3 -> contents.put(i, (byte) ((bits & 0x87) | ((5 + (bits >>> 3 & 3)) << 3)));
      case UE8M0 -> contents.put(i, (byte) (124 + (bits & 3)));
    }
  }

  /**
   * Positive scales of about one magnitude, E4M3, UE8M0 or F32.
   *
   * @see #random for codes
   */
  public static TensorInitializer scales() {
    return (spec, draw, contents) -> {
      SplittableRandom random = draw.random();
      for (int i = 0; i < spec.elements(); i++) {
        int bits = random.nextInt();
        switch (spec.dtype()) {
          case E4M3 -> contents.put(i, (byte) (E4M3_ONE | (bits & 7)));
          case UE8M0 -> contents.put(i, (byte) (124 + (bits & 3)));
          case F32 -> contents.putFloat(4 * i, (1 + (bits & 7)) / 8f);
          default -> throw new InvalidArgumentException("dtype", spec.dtype(), "a type of scales");
        }
      }
    };
  }

  /** Experts of tokens, I32 [T, k]. */
  public static TensorInitializer expertIds(ExpertSampler sampler) {
    return (spec, draw, contents) ->
        eachToken(
            spec, draw, sampler, (element, expert, random) -> contents.putInt(4 * element, expert));
  }

  /** Experts of tokens with their weights, I32 [T, k] as expert id and BF16 bits. */
  public static TensorInitializer packedExperts(ExpertSampler sampler) {
    return (spec, draw, contents) ->
        eachToken(
            spec,
            draw,
            sampler,
            (element, expert, random) ->
                contents.putInt(4 * element, expert << 16 | bf16(weight(random, spec))));
  }

  /** Weights of experts, BF16 or F32 [T, k]: positive, about 1/k. */
  public static TensorInitializer expertWeights() {
    return (spec, draw, contents) -> {
      SplittableRandom random = draw.random();
      for (int i = 0; i < spec.elements(); i++) {
        putFloat(spec.dtype(), contents, i, weight(random, spec));
      }
    };
  }

  /** Logits F32 or BF16 [T, E] that make routing choose the sampler's experts. */
  public static TensorInitializer routerLogits(ExpertSampler sampler) {
    return (spec, draw, contents) -> {
      int numExperts = (int) spec.dim(1);
      SplittableRandom random = draw.random();
      int[] experts = new int[sampler.topK()];
      for (int token = 0; token < spec.dim(0); token++) {
        for (int expert = 0; expert < numExperts; expert++) {
          float noise = (float) random.nextDouble(-1, 1);
          putFloat(spec.dtype(), contents, token * numExperts + expert, noise);
        }
        sampler.draw(skewOf(draw), random, draw.copy(), token, experts);
        for (int expert : experts) {
          float chosen = (float) random.nextDouble(3, 5);
          putFloat(spec.dtype(), contents, token * numExperts + expert, chosen);
        }
      }
    };
  }

  private interface ExpertSink {
    void put(int element, int expert, SplittableRandom random);
  }

  private static void eachToken(
      TensorSpec spec, Draw draw, ExpertSampler sampler, ExpertSink sink) {
    int topK = sampler.topK();
    if (spec.rank() != 2 || spec.dim(1) != topK) {
      throw new InvalidArgumentException("spec", spec, "[tokens, " + topK + "]");
    }
    SplittableRandom random = draw.random();
    int[] experts = new int[topK];
    for (int token = 0; token < spec.dim(0); token++) {
      sampler.draw(skewOf(draw), random, draw.copy(), token, experts);
      for (int slot = 0; slot < topK; slot++) {
        sink.put(token * topK + slot, experts[slot], random);
      }
    }
  }

  private static RoutingSkew skewOf(Draw draw) {
    return draw.skew() == RoutingSkew.UNKNOWN ? RoutingSkew.UNIFORM : draw.skew();
  }

  private static float weight(SplittableRandom random, TensorSpec spec) {
    return (float) (random.nextDouble(0.5, 1.5) / spec.dim(1));
  }

  private static void putFloat(DType dtype, ByteBuffer contents, int i, float value) {
    switch (dtype) {
      case F32 -> contents.putFloat(4 * i, value);
      case BF16 -> contents.putShort(2 * i, (short) bf16(value));
      default -> throw new InvalidArgumentException("dtype", dtype, "F32 or BF16");
    }
  }

  /** Truncates: the values are made up, their rounding does not matter. */
  private static int bf16(float value) {
    return Float.floatToRawIntBits(value) >>> 16;
  }
}
