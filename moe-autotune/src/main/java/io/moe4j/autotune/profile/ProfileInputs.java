package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableList;
import io.moe4j.DeviceMemoryException;
import io.moe4j.OwnedTensor;
import io.moe4j.RoutingSkew;
import io.moe4j.Stream;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Real tensors for one profile of an operation, on its device: for each distribution of routing a
 * rotation of copies that together are larger than the last-level cache, so that each timed launch
 * finds its inputs as cold as production does. Owns what it made; close it after the runs.
 */
public final class ProfileInputs implements AutoCloseable {
  /** Caches that a rotation fills, rounded down to whole copies: always more than one. */
  private static final long ROTATION_CACHES = 2;

  private static final int MAX_COPIES = 16;
  private static final long UNKNOWN_CACHE_BYTES = 32L << 20;

  private final ImmutableList<RoutingSkew> skews;
  private final int copies;
  private final List<OwnedTensor> owned = new ArrayList<>();
  private final ImmutableList<ImmutableList<Optional<Tensor>>> rows;

  private ProfileInputs(TunedOperation operation, long tokens, int copies) {
    this.skews = operation.skews().keySet().asList();
    this.copies = copies;
    ImmutableList<Optional<TensorSpec>> shapes = operation.shapes(tokens);
    try {
      this.rows = make(operation, shapes);
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  /**
   * Copies of the inputs that the cache asks for and the budget allows, at least one.
   *
   * @param memoryBudget most bytes that they may take
   * @throws DeviceMemoryException when the budget has no room for a single copy
   */
  public static int copies(TunedOperation operation, long tokens, long memoryBudget) {
    long copyBytes = 0;
    ImmutableList<Optional<TensorSpec>> shapes = operation.shapes(tokens);
    for (int i = 0; i < shapes.size(); i++) {
      if (operation.inputs().get(i) instanceof ProfileInput.Synthesized made) {
        long bytes = shapes.get(i).orElseThrow().bytes();
        if (bytes > Integer.MAX_VALUE) {
          throw new DeviceMemoryException(
              "profile of "
                  + tokens
                  + " tokens: input "
                  + i
                  + " has "
                  + bytes
                  + " bytes, more than a profile can fill");
        }
        copyBytes += made.bySkew() ? bytes * operation.skews().size() : bytes;
      }
    }
    if (copyBytes > memoryBudget) {
      throw new DeviceMemoryException(
          "profile of "
              + tokens
              + " tokens: its inputs have "
              + copyBytes
              + " bytes, more than the memory budget of "
              + memoryBudget);
    }
    long affordable = copyBytes == 0 ? MAX_COPIES : memoryBudget / copyBytes;
    return (int) Math.min(affordable, copiesForCache(operation, tokens));
  }

  /**
   * Makes the tensors for a number of tokens.
   *
   * @throws DeviceMemoryException when the device has no room for them
   */
  public static ProfileInputs allocate(TunedOperation operation, long tokens, int copies) {
    return new ProfileInputs(operation, tokens, copies);
  }

  /**
   * Copies that the cache asks for. Once a rotation reads all weights that there are, more copies
   * make none of them colder.
   */
  public static int copiesForCache(TunedOperation operation, long tokens) {
    long cache = operation.device().info().lastLevelCacheBytes();
    long rotation = ROTATION_CACHES * (cache > 0 ? cache : UNKNOWN_CACHE_BYTES);
    long weights = operation.weightBytes().applyAsLong(tokens);
    long allWeights = operation.weightBytes().applyAsLong(Long.MAX_VALUE);
    long copies =
        rotation
            / Math.max(1, weights + synthesizedBytes(operation, operation.shapes(tokens)).sum());
    if (weights > 0) {
      copies = Math.min(copies, allWeights / weights);
    }
    return (int) Math.max(1, Math.min(MAX_COPIES, copies));
  }

  /** Sizes of the inputs that a profile makes; it takes the others as they are. */
  private static LongStream synthesizedBytes(
      TunedOperation operation, ImmutableList<Optional<TensorSpec>> shapes) {
    return IntStream.range(0, shapes.size())
        .filter(i -> operation.inputs().get(i) instanceof ProfileInput.Synthesized)
        .mapToLong(i -> shapes.get(i).orElseThrow().bytes());
  }

  private ImmutableList<ImmutableList<Optional<Tensor>>> make(
      TunedOperation operation, ImmutableList<Optional<TensorSpec>> shapes) {
    long largest = synthesizedBytes(operation, shapes).max().orElse(0);
    ByteBuffer scratch =
        ByteBuffer.allocate(Math.toIntExact(largest)).order(ByteOrder.LITTLE_ENDIAN);
    List<List<Optional<Tensor>>> made = new ArrayList<>();
    for (RoutingSkew skew : skews) {
      for (int copy = 0; copy < copies; copy++) {
        List<Optional<Tensor>> row = new ArrayList<>();
        for (int i = 0; i < operation.inputs().size(); i++) {
          ProfileInput input = operation.inputs().get(i);
          boolean sameForAllSkews =
              input instanceof ProfileInput.Synthesized synthesized && !synthesized.bySkew();
          row.add(
              sameForAllSkews && made.size() >= copies
                  ? made.get(copy).get(i)
                  : tensor(operation, input, shapes.get(i), new Draw(skew, copy, i), scratch));
        }
        made.add(row);
      }
    }
    return made.stream().map(ImmutableList::copyOf).collect(ImmutableList.toImmutableList());
  }

  private Optional<Tensor> tensor(
      TunedOperation operation,
      ProfileInput input,
      Optional<TensorSpec> shape,
      Draw draw,
      ByteBuffer scratch) {
    if (input instanceof ProfileInput.Shared shared) {
      return Optional.of(shared.tensor());
    }
    if (!(input instanceof ProfileInput.Synthesized synthesized)) {
      return Optional.empty();
    }
    TensorSpec spec = shape.orElseThrow();
    OwnedTensor tensor = operation.device().allocate(spec);
    owned.add(tensor);
    ByteBuffer contents = scratch.clear().slice(0, (int) spec.bytes());
    contents.order(ByteOrder.LITTLE_ENDIAN);
    synthesized.initializer().fill(spec, draw, contents);
    operation.device().copyToDevice(tensor, contents.clear(), Stream.DEFAULT);
    return Optional.of(tensor);
  }

  /** Distributions that there are inputs for. */
  public ImmutableList<RoutingSkew> skews() {
    return skews;
  }

  /** Copies of each distribution's inputs. */
  public int copies() {
    return copies;
  }

  /** All inputs, at {@link #index}. */
  public ImmutableList<ImmutableList<Optional<Tensor>>> rows() {
    return rows;
  }

  /** Position of one copy of a distribution's inputs in {@link #rows}. */
  public int index(RoutingSkew skew, int copy) {
    return skews.indexOf(skew) * copies + copy;
  }

  /** Frees the tensors. */
  @Override
  public void close() {
    owned.forEach(OwnedTensor::close);
    owned.clear();
  }
}
