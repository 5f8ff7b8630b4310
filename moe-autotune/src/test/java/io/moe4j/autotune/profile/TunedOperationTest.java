package io.moe4j.autotune.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableList;
import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.DType;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.OwnedTensor;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.UnsupportedOptionException;
import io.moe4j.autotune.testing.FakeGpu;
import io.moe4j.autotune.testing.FakeRunner;
import io.moe4j.autotune.testing.FakeTactic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** How shapes change from profile to profile, and what profiles are made of. */
class TunedOperationTest {
  private static final TokenBuckets BUCKETS = TokenBuckets.powersOfTwo(4096);
  private static final long PLENTY = 1L << 28;

  private final FakeGpu gpu = new FakeGpu(FakeTactic.of("a", 1));
  private final MoeDevice device = gpu.open();
  private final List<OwnedTensor> tensors = new ArrayList<>();

  @AfterEach
  void everythingWasFreed() {
    tensors.forEach(OwnedTensor::close);
    assertEquals(0, device.counters().liveBytes());
    device.close();
  }

  @Test
  void aDynamicSizeShowsInAllLinkedAxes() {
    TunedOperation operation =
        operation()
            .input(tensor(DType.BF16, 300, 64))
            .input(tensor(DType.I32, 300, 4))
            .input(tensor(DType.F32, 64, 300))
            .dimension("tokens", BUCKETS, new Axis(0, 0), new Axis(1, 0), new Axis(2, 1))
            .build();
    assertEquals(300, operation.tokens());
    assertEquals(
        specs(
            TensorSpec.of(DType.BF16, 128, 64),
            TensorSpec.of(DType.I32, 128, 4),
            TensorSpec.of(DType.F32, 64, 128)),
        operation.shapes(128));
  }

  @Test
  void aConstraintFollowsTheDynamicSize() {
    TunedOperation operation =
        operation()
            .input(tensor(DType.BF16, 3, 64))
            .input(tensor(DType.BF16, 24, 64))
            .dimension("tokens", BUCKETS, new Axis(0, 0))
            .constraint(
                new ShapeConstraint(
                    new Axis(1, 0), shapes -> 8 * shapes.get(0).orElseThrow().dim(0)))
            .build();
    assertEquals(
        specs(TensorSpec.of(DType.BF16, 16, 64), TensorSpec.of(DType.BF16, 128, 64)),
        operation.shapes(16));
  }

  @ParameterizedTest
  @CsvSource({"1,1", "3,4", "127,128", "128,128", "5000,4096"})
  void shapesOfOneBucketShareAKey(long tokens, long bucket) {
    TunedOperation seen = twoInputs(tokens);
    assertEquals(bucket, seen.buckets().bucketOf(seen.tokens()));
    assertEquals(twoInputs(bucket).family(), seen.family());
  }

  @Test
  void staticShapesDtypesAndAttributesAreInTheKey() {
    TuningFamily family = twoInputs(8).family();
    TunedOperation wider =
        operation()
            .input(tensor(DType.BF16, 8, 128))
            .input(tensor(DType.I32, 8, 4))
            .dimension("tokens", BUCKETS, new Axis(0, 0), new Axis(1, 0))
            .build();
    assertNotEquals(family, wider.family());
    TunedOperation otherOutput =
        operation()
            .attribute("output", "f32")
            .input(tensor(DType.BF16, 8, 64))
            .input(tensor(DType.I32, 8, 4))
            .dimension("tokens", BUCKETS, new Axis(0, 0), new Axis(1, 0))
            .build();
    assertNotEquals(family, otherOutput.family());
    assertEquals("BF16 tokensx64", family.attributes().get("input0"));
  }

  @Test
  void profilesMakeDynamicInputsAndKeepTheOthers() {
    OwnedTensor weights = tensor(DType.BF16, 64, 64).map(OwnedTensor.class::cast).orElseThrow();
    OwnedTensor hidden = tensor(DType.F32, 300, 8).map(OwnedTensor.class::cast).orElseThrow();
    TunedOperation operation =
        operation()
            .input(Optional.of(hidden))
            .input(Optional.of(weights))
            .input(Optional.empty())
            .input(tensor(DType.F32, 300))
            .initializer(3, Initializers.ones())
            .dimension("tokens", BUCKETS, new Axis(0, 0), new Axis(3, 0), new Axis(2, 0))
            .build();
    try (ProfileInputs inputs = profile(operation, 128)) {
      for (ImmutableList<Optional<Tensor>> row : inputs.rows()) {
        assertNotEquals(hidden.address(), row.get(0).orElseThrow().address());
        assertEquals(TensorSpec.of(DType.F32, 128, 8), row.get(0).orElseThrow().spec());
        assertEquals(Optional.of(weights), row.get(1));
        assertEquals(Optional.empty(), row.get(2));
        ByteBuffer contents = ByteBuffer.allocate(512).order(ByteOrder.LITTLE_ENDIAN);
        row.get(3).orElseThrow().copyTo(contents);
        for (int i = 0; i < 128; i++) {
          assertEquals(1f, contents.getFloat(4 * i));
        }
      }
    }
  }

  @Test
  void severalDynamicSizesGiveEveryCombination() {
    TunedOperation operation =
        operation()
            .input(tensor(DType.BF16, 100, 30))
            .dimension("tokens", BUCKETS, new Axis(0, 0))
            .dimension("length", TokenBuckets.of(10, 20, 40), new Axis(0, 1))
            .build();
    ImmutableList<TunedOperation> variants = operation.variants();
    assertEquals(3, variants.size());
    assertEquals(specs(TensorSpec.of(DType.BF16, 8, 40)), variants.get(2).shapes(8));
    assertEquals(3, variants.stream().map(TunedOperation::family).distinct().count());
    // 30 lies between 20 and 40.
    assertEquals(variants.get(1).family(), operation.variant().family());
    assertEquals(1, operation.variant().dimensions().size());
  }

  @Test
  void otherBucketsReplaceOnlyTheTokens() {
    TunedOperation operation = twoInputs(8).withBuckets(TokenBuckets.of(3, 5));
    assertEquals(ImmutableLongArray.of(3, 5), operation.buckets().values());
    assertEquals(twoInputs(8).family(), operation.family());
    TensorInitializer ones = Initializers.ones();
    TunedOperation initialized =
        operation()
            .input(tensor(DType.F32, 8))
            .initializer(0, ones)
            .dimension("tokens", BUCKETS, new Axis(0, 0))
            .build()
            .withBuckets(TokenBuckets.of(3));
    assertEquals(ones, ((ProfileInput.Synthesized) initialized.inputs().get(0)).initializer());
  }

  @Test
  void aRotationIsLargerThanTheCache() {
    gpu.lastLevelCacheBytes(100_000);
    TunedOperation operation = twoInputs(8);
    try (MoeDevice small = gpu.open()) {
      TunedOperation onSmall =
          TunedOperation.builder("op", small)
              .runner(operation.runners().get(0))
              .input(
                  new ProfileInput.Synthesized(
                      TensorSpec.of(DType.BF16, 1, 64), Initializers.random(), false))
              .dimension("tokens", BUCKETS, new Axis(0, 0))
              .build();
      try (ProfileInputs inputs = profile(onSmall, 512)) {
        long bytes = inputs.copies() * 512L * 64 * 2;
        assertTrue(bytes > 100_000, () -> bytes + " bytes rotate");
        assertEquals(
            inputs.copies(),
            inputs.rows().stream()
                .map(row -> row.get(0).orElseThrow().address())
                .distinct()
                .count());
      }
      try (ProfileInputs inputs = profile(onSmall, 4096)) {
        assertEquals(1, inputs.copies());
      }
      TunedOperation heavy =
          TunedOperation.builder("op", small)
              .runner(operation.runners().get(0))
              .input(onSmall.inputs().get(0))
              .dimension("tokens", BUCKETS, new Axis(0, 0))
              .weightBytes(tokens -> 1_000_000)
              .build();
      try (ProfileInputs inputs = profile(heavy, 1)) {
        assertEquals(1, inputs.copies(), "weights alone evict the cache");
      }
    }
  }

  @Test
  void aRotationReadsNoWeightsTwice() {
    gpu.lastLevelCacheBytes(1 << 20);
    try (MoeDevice cached = gpu.open()) {
      TunedOperation operation =
          TunedOperation.builder("op", cached)
              .runner(new FakeRunner("r", gpu.clock(), "a"))
              .input(tensor(DType.BF16, 1, 1))
              .dimension("tokens", BUCKETS, new Axis(0, 0))
              .weightBytes(tokens -> 1000 * Math.min(tokens, 8))
              .build();
      assertEquals(8, ProfileInputs.copies(operation, 1, PLENTY), "each reads an eighth");
      assertEquals(2, ProfileInputs.copies(operation, 4, PLENTY));
      assertEquals(1, ProfileInputs.copies(operation, 16, PLENTY), "one reads them all");
    }
  }

  @Test
  void operationsThatCannotBeTunedAreRefused() {
    assertThrows(InvalidArgumentException.class, () -> operation().build());
    assertThrows(
        InvalidArgumentException.class,
        () ->
            TunedOperation.builder("op", device)
                .input(tensor(DType.BF16, 1, 1))
                .dimension("tokens", BUCKETS, new Axis(0, 0))
                .build());
    assertThrows(
        InvalidArgumentException.class,
        () ->
            operation()
                .input(tensor(DType.BF16, 1, 1))
                .dimension("tokens", BUCKETS, new Axis(0, 2))
                .build());
    assertThrows(
        InvalidArgumentException.class,
        () ->
            operation()
                .input(tensor(DType.BF16, 1, 1))
                .dimension("tokens", BUCKETS, new Axis(1, 0))
                .build());
  }

  @Test
  void anOperationThatNoRunnerCanRunHasNoDefault() {
    TunedOperation operation =
        TunedOperation.builder("op", device)
            .runner(new FakeRunner("none", gpu.clock()))
            .input(tensor(DType.BF16, 1, 1))
            .dimension("tokens", BUCKETS, new Axis(0, 0))
            .build();
    assertThrows(
        UnsupportedOptionException.class, () -> operation.defaultCandidate(operation.shapes(1)));
  }

  @Test
  void aSharedInputTakesNoMemoryOfTheHosts() {
    TensorSpec weights = TensorSpec.of(DType.U8, Integer.MAX_VALUE);
    TunedOperation operation =
        operation()
            .input(tensor(DType.BF16, 1, 64))
            .input(Optional.of(device.borrow(weights, 4096)))
            .dimension("tokens", BUCKETS, new Axis(0, 0))
            .build();
    try (ProfileInputs inputs = profile(operation, 16)) {
      assertEquals(weights, inputs.rows().get(0).get(1).orElseThrow().spec());
    }
  }

  private static ProfileInputs profile(TunedOperation operation, long tokens) {
    return ProfileInputs.allocate(
        operation, tokens, ProfileInputs.copies(operation, tokens, PLENTY));
  }

  private TunedOperation twoInputs(long tokens) {
    return operation()
        .input(tensor(DType.BF16, tokens, 64))
        .input(tensor(DType.I32, tokens, 4))
        .dimension("tokens", BUCKETS, new Axis(0, 0), new Axis(1, 0))
        .build();
  }

  private TunedOperation.Builder operation() {
    return TunedOperation.builder("op", device).runner(new FakeRunner("r", gpu.clock(), "a"));
  }

  private Optional<Tensor> tensor(DType dtype, long... shape) {
    OwnedTensor tensor = device.allocate(TensorSpec.of(dtype, shape));
    tensors.add(tensor);
    return Optional.of(tensor);
  }

  private static ImmutableList<Optional<TensorSpec>> specs(TensorSpec... specs) {
    return ImmutableList.copyOf(List.of(specs).stream().map(Optional::of).toList());
  }
}
