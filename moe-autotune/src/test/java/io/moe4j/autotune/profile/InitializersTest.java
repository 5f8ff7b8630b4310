package io.moe4j.autotune.profile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.DType;
import io.moe4j.ExpertParallel;
import io.moe4j.InvalidArgumentException;
import io.moe4j.RoutingSkew;
import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class InitializersTest {
  private static final Draw DRAW = new Draw(RoutingSkew.UNIFORM, 0, 0);
  private final ExpertSampler sampler = new ExpertSampler(16, 4, new ExpertParallel(0, 16));

  @ParameterizedTest
  @EnumSource
  void everyByteIsWritten(DType dtype) {
    TensorSpec spec = TensorSpec.of(dtype, 3, 7);
    for (TensorInitializer initializer :
        new TensorInitializer[] {
          Initializers.zeros(), Initializers.ones(), Initializers.random()
        }) {
      byte[] first = fill(spec, initializer, DRAW, (byte) 0x11);
      byte[] second = fill(spec, initializer, DRAW, (byte) 0x77);
      assertArrayEquals(first, second);
    }
  }

  @Test
  void randomFloatsAreOrdinaryNumbers() {
    ByteBuffer f32 = buffer(fill(TensorSpec.of(DType.F32, 1000), Initializers.random(), DRAW));
    ByteBuffer bf16 = buffer(fill(TensorSpec.of(DType.BF16, 1000), Initializers.random(), DRAW));
    boolean negative = false;
    for (int i = 0; i < 1000; i++) {
      for (float value :
          new float[] {f32.getFloat(4 * i), Float.intBitsToFloat(bf16.getShort(2 * i) << 16)}) {
        assertTrue(Math.abs(value) >= 0.125f && Math.abs(value) < 2, "found " + value);
        negative |= value < 0;
      }
    }
    assertTrue(negative);
  }

  @Test
  void randomCodesAndScalesAreNoNaN() {
    for (byte code : fill(TensorSpec.of(DType.E4M3, 1000), Initializers.random(), DRAW)) {
      assertFalse((code & 0x7F) == 0x7F || (code & 0x78) == 0, "found " + code);
    }
    for (DType scales : new DType[] {DType.E4M3, DType.UE8M0}) {
      for (byte code : fill(TensorSpec.of(scales, 1000), Initializers.scales(), DRAW)) {
        assertTrue(code > 0 && (scales == DType.UE8M0 || code < 0x7F), "found " + code);
      }
    }
    ByteBuffer f32 = buffer(fill(TensorSpec.of(DType.F32, 1000), Initializers.scales(), DRAW));
    for (int i = 0; i < 1000; i++) {
      assertTrue(f32.getFloat(4 * i) > 0 && f32.getFloat(4 * i) <= 1);
    }
    assertThrows(
        InvalidArgumentException.class,
        () -> fill(TensorSpec.of(DType.I32, 1), Initializers.scales(), DRAW));
  }

  @Test
  void packedAndUnpackedExpertsAreValid() {
    TensorSpec spec = TensorSpec.of(DType.I32, 50, 4);
    ByteBuffer ids = buffer(fill(spec, Initializers.expertIds(sampler), DRAW));
    ByteBuffer packed = buffer(fill(spec, Initializers.packedExperts(sampler), DRAW));
    for (int token = 0; token < 50; token++) {
      Set<Integer> unpackedSeen = new HashSet<>();
      Set<Integer> packedSeen = new HashSet<>();
      for (int slot = 0; slot < 4; slot++) {
        int id = ids.getInt(4 * (token * 4 + slot));
        assertTrue(id >= 0 && id < 16 && unpackedSeen.add(id));
        int pair = packed.getInt(4 * (token * 4 + slot));
        assertTrue(pair >>> 16 < 16 && packedSeen.add(pair >>> 16));
        float weight = Float.intBitsToFloat(pair << 16);
        assertTrue(weight > 0 && weight < 1, "weight " + weight);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void logitsSelectWhatTheSamplerDrew(DType dtype) {
    Draw hot = new Draw(RoutingSkew.HOT, 0, 0);
    TensorSpec spec = TensorSpec.of(dtype, 50, 16);
    ByteBuffer logits = buffer(fill(spec, Initializers.routerLogits(sampler), hot));
    for (int token = 0; token < 50; token++) {
      float[] row = new float[16];
      for (int expert = 0; expert < 16; expert++) {
        int i = token * 16 + expert;
        row[expert] =
            dtype == DType.F32
                ? logits.getFloat(4 * i)
                : Float.intBitsToFloat(logits.getShort(2 * i) << 16);
      }
      float hotLogit = row[0];
      Arrays.sort(row);
      assertTrue(hotLogit >= row[12] && row[12] > row[11] + 1, () -> Arrays.toString(row));
    }
  }

  @Test
  void theSameDrawGivesTheSameContentsAndAnotherCopyOthers() {
    TensorSpec spec = TensorSpec.of(DType.I32, 50, 4);
    TensorInitializer ids = Initializers.expertIds(sampler);
    assertArrayEquals(fill(spec, ids, DRAW), fill(spec, ids, DRAW));
    byte[] copy = fill(spec, ids, new Draw(RoutingSkew.UNIFORM, 1, 0));
    assertFalse(Arrays.equals(fill(spec, ids, DRAW), copy));
  }

  @Test
  void aTensorThatDoesNotFitTopKIsRefused() {
    assertThrows(
        InvalidArgumentException.class,
        () -> fill(TensorSpec.of(DType.I32, 50, 3), Initializers.expertIds(sampler), DRAW));
  }

  @Test
  void onesAreOnes() {
    assertEquals(
        1f, buffer(fill(TensorSpec.of(DType.F32, 1), Initializers.ones(), DRAW)).getFloat(0));
    assertEquals(
        0x3F80, buffer(fill(TensorSpec.of(DType.BF16, 1), Initializers.ones(), DRAW)).getShort(0));
    assertEquals(0x38, fill(TensorSpec.of(DType.E4M3, 1), Initializers.ones(), DRAW)[0]);
    assertEquals(127, fill(TensorSpec.of(DType.UE8M0, 1), Initializers.ones(), DRAW)[0]);
    assertEquals(0x22, fill(TensorSpec.of(DType.E2M1X2, 1), Initializers.ones(), DRAW)[0]);
  }

  private static byte[] fill(TensorSpec spec, TensorInitializer initializer, Draw draw) {
    return fill(spec, initializer, draw, (byte) 0);
  }

  private static byte[] fill(
      TensorSpec spec, TensorInitializer initializer, Draw draw, byte before) {
    byte[] contents = new byte[(int) spec.bytes()];
    Arrays.fill(contents, before);
    initializer.fill(spec, draw, buffer(contents));
    return contents;
  }

  private static ByteBuffer buffer(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
