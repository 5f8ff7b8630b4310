package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Maps;
import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import io.moe4j.RoutingSkew;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.UnsupportedOptionException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongUnaryOperator;

/**
 * An operation as the tuner sees it: who can run it, what its inputs are and how they change from
 * call to call. The first dynamic dimension is the number of tokens. Immutable.
 *
 * @param family names it in keys
 * @param device where it runs
 * @param runners who can run it; the first one's first tactic is the default
 * @param inputs its inputs, outputs among them
 * @param dimensions sizes that change from call to call, tokens first
 * @param constraints sizes that follow from others
 * @param outputs positions of the inputs that a launch writes
 * @param tolerance largest relative L2 distance between correct outputs of two tactics
 * @param skew what the family says of the routing's distribution
 * @param skews distributions of routing that are profiled, each with its weight in the choice
 * @param weightBytes bytes beside the inputs that a launch of so many tokens reads; {@link
 *     Long#MAX_VALUE} of them read all that there are
 */
public record TunedOperation(
    TuningFamily family,
    MoeDevice device,
    ImmutableList<TunableRunner> runners,
    ImmutableList<ProfileInput> inputs,
    ImmutableList<DynamicDimension> dimensions,
    ImmutableList<ShapeConstraint> constraints,
    ImmutableSet<Integer> outputs,
    double tolerance,
    RoutingSkew skew,
    ImmutableMap<RoutingSkew, Double> skews,
    LongUnaryOperator weightBytes) {

  /** Refuses an operation that nobody runs or that has no dynamic dimension. */
  public TunedOperation {
    if (runners.isEmpty()) {
      throw new InvalidArgumentException("runners", "none", "at least one for " + family);
    }
    if (dimensions.isEmpty()) {
      throw new InvalidArgumentException("dimensions", "none", "the number of tokens at least");
    }
    for (DynamicDimension dimension : dimensions) {
      for (Axis axis : dimension.axes()) {
        checkAxis(inputs, axis);
      }
    }
    for (ShapeConstraint constraint : constraints) {
      checkAxis(inputs, constraint.axis());
    }
  }

  private static void checkAxis(List<ProfileInput> inputs, Axis axis) {
    boolean exists =
        axis.input() >= 0
            && axis.input() < inputs.size()
            && axis.dimension() >= 0
            && inputs
                .get(axis.input())
                .spec()
                .map(spec -> axis.dimension() < spec.rank())
                .orElse(true);
    if (!exists) {
      throw new InvalidArgumentException("axis", axis, "a dimension of one of the inputs");
    }
  }

  /** Starts an operation whose key is made of its name, its device and its inputs' shapes. */
  public static Builder builder(String name, MoeDevice device) {
    return new Builder(TuningFamily.builder(name, device.info()).build(), device, true);
  }

  /** Starts an operation whose key is given. */
  public static Builder builder(TuningFamily family, MoeDevice device) {
    return new Builder(family, device, false);
  }

  /** The token counts to profile. */
  public TokenBuckets buckets() {
    return dimensions.get(0).buckets();
  }

  /** The number of tokens of the inputs as they are. */
  public long tokens() {
    return size(inputs, dimensions.get(0));
  }

  private static long size(List<ProfileInput> inputs, DynamicDimension dimension) {
    for (Axis axis : dimension.axes()) {
      Optional<TensorSpec> spec = inputs.get(axis.input()).spec();
      if (spec.isPresent()) {
        return spec.get().dim(axis.dimension());
      }
    }
    throw new InvalidArgumentException("inputs", "none", "one that shows " + dimension.name());
  }

  /** The inputs' shapes for a number of tokens: linked axes together, then what follows. */
  public ImmutableList<Optional<TensorSpec>> shapes(long tokens) {
    List<Optional<TensorSpec>> shapes = new ArrayList<>();
    for (ProfileInput input : inputs) {
      shapes.add(input.spec());
    }
    for (Axis axis : dimensions.get(0).axes()) {
      resize(shapes, axis, tokens);
    }
    for (ShapeConstraint constraint : constraints) {
      resize(
          shapes, constraint.axis(), constraint.infer().applyAsLong(ImmutableList.copyOf(shapes)));
    }
    return ImmutableList.copyOf(shapes);
  }

  private static void resize(List<Optional<TensorSpec>> shapes, Axis axis, long size) {
    shapes.set(
        axis.input(), shapes.get(axis.input()).map(spec -> resized(spec, axis.dimension(), size)));
  }

  private static TensorSpec resized(TensorSpec spec, int dimension, long size) {
    long[] shape = spec.shape().toArray();
    shape[dimension] = size;
    return new TensorSpec(spec.dtype(), ImmutableLongArray.copyOf(shape));
  }

  /**
   * The tactic that all runners' shapes can fall back on.
   *
   * @throws UnsupportedOptionException if no runner has a tactic for these shapes
   */
  public Candidate defaultCandidate(ImmutableList<Optional<TensorSpec>> shapes) {
    return candidates(shapes).stream()
        .findFirst()
        .orElseThrow(
            () ->
                new UnsupportedOptionException(
                    "no runner of " + family.operation() + " has a tactic for " + shapes));
  }

  /** All runners' tactics for these shapes, the default first. */
  public ImmutableList<Candidate> candidates(ImmutableList<Optional<TensorSpec>> shapes) {
    ImmutableList.Builder<Candidate> candidates = ImmutableList.builder();
    for (TunableRunner runner : runners) {
      runner.tactics(shapes).forEach(tactic -> candidates.add(new Candidate(runner, tactic)));
    }
    return candidates.build();
  }

  /** This operation, profiled at other token counts. */
  public TunedOperation withBuckets(TokenBuckets buckets) {
    ImmutableList.Builder<DynamicDimension> changed = ImmutableList.builder();
    changed.add(dimensions.get(0).withBuckets(buckets));
    changed.addAll(dimensions.subList(1, dimensions.size()));
    return new TunedOperation(
        family,
        device,
        runners,
        inputs,
        changed.build(),
        constraints,
        outputs,
        tolerance,
        skew,
        skews,
        weightBytes);
  }

  /**
   * Operations in which tokens alone change: one for each combination of the buckets of the other
   * dimensions.
   */
  public ImmutableList<TunedOperation> variants() {
    List<TunedOperation> variants = List.of(this);
    for (DynamicDimension dimension : dimensions.subList(1, dimensions.size())) {
      List<TunedOperation> pinned = new ArrayList<>();
      for (TunedOperation variant : variants) {
        dimension.buckets().values().forEach(size -> pinned.add(variant.pin(dimension, size)));
      }
      variants = pinned;
    }
    return ImmutableList.copyOf(variants);
  }

  /** The variant that answers for the inputs as they are. */
  public TunedOperation variant() {
    TunedOperation variant = this;
    for (DynamicDimension dimension : dimensions.subList(1, dimensions.size())) {
      variant = variant.pin(dimension, dimension.buckets().bucketOf(size(inputs, dimension)));
    }
    return variant;
  }

  private TunedOperation pin(DynamicDimension dimension, long size) {
    List<Optional<TensorSpec>> shapes = new ArrayList<>();
    for (ProfileInput input : inputs) {
      shapes.add(input.spec());
    }
    for (Axis axis : dimension.axes()) {
      resize(shapes, axis, size);
    }
    ImmutableList.Builder<ProfileInput> resized = ImmutableList.builder();
    for (int i = 0; i < inputs.size(); i++) {
      resized.add(
          inputs.get(i) instanceof ProfileInput.Synthesized made
              ? new ProfileInput.Synthesized(
                  shapes.get(i).orElseThrow(), made.initializer(), made.bySkew())
              : inputs.get(i));
    }
    ImmutableList.Builder<DynamicDimension> rest = ImmutableList.builder();
    dimensions.stream().filter(other -> !other.equals(dimension)).forEach(rest::add);
    return new TunedOperation(
        family.with(dimension.name(), size),
        device,
        runners,
        resized.build(),
        rest.build(),
        constraints,
        outputs,
        tolerance,
        skew,
        skews,
        weightBytes);
  }

  /** Collects the parts of an operation. Not thread safe. */
  public static final class Builder {
    private final TuningFamily family;
    private final MoeDevice device;
    private final boolean keyedByShapes;
    private final Map<String, String> attributes = new HashMap<>();
    private final ImmutableList.Builder<TunableRunner> runners = ImmutableList.builder();
    private final List<ProfileInput> inputs = new ArrayList<>();
    private final Map<Integer, TensorInitializer> initializers = new HashMap<>();
    private final ImmutableList.Builder<DynamicDimension> dimensions = ImmutableList.builder();
    private final ImmutableList.Builder<ShapeConstraint> constraints = ImmutableList.builder();
    private final ImmutableSet.Builder<Integer> outputs = ImmutableSet.builder();
    private double tolerance;
    private RoutingSkew skew = RoutingSkew.UNKNOWN;
    private ImmutableMap<RoutingSkew, Double> skews = ImmutableMap.of(RoutingSkew.UNKNOWN, 1.0);
    private LongUnaryOperator weightBytes = tokens -> 0;

    private Builder(TuningFamily family, MoeDevice device, boolean keyedByShapes) {
      this.family = family;
      this.device = device;
      this.keyedByShapes = keyedByShapes;
    }

    /** Adds to the key what shapes do not say, e.g. a data type of the output. */
    public Builder attribute(String name, Object value) {
      attributes.put(name, value.toString());
      return this;
    }

    /** Adds a runner; the first one is the default. */
    public Builder runner(TunableRunner runner) {
      runners.add(runner);
      return this;
    }

    /**
     * Adds a call's input: made anew for each profile if a dynamic size or a constraint shows in
     * it, the caller's own tensor otherwise, and nothing if it is not there.
     */
    public Builder input(Optional<Tensor> input) {
      inputs.add(
          input.<ProfileInput>map(ProfileInput.Shared::new).orElseGet(ProfileInput.Absent::new));
      return this;
    }

    /** Adds an input. */
    public Builder input(ProfileInput input) {
      inputs.add(input);
      return this;
    }

    /** Replaces the {@link Initializers#random default} contents of one input's profiles. */
    public Builder initializer(int input, TensorInitializer initializer) {
      initializers.put(input, initializer);
      return this;
    }

    /** Adds a dynamic dimension; the first one is the number of tokens. */
    public Builder dimension(String name, TokenBuckets buckets, Axis... axes) {
      dimensions.add(new DynamicDimension(name, ImmutableList.copyOf(axes), buckets));
      return this;
    }

    /** Adds a constraint. */
    public Builder constraint(ShapeConstraint constraint) {
      constraints.add(constraint);
      return this;
    }

    /** Names an input that launches write; all tactics' outputs have to agree. */
    public Builder output(int input) {
      outputs.add(input);
      return this;
    }

    /** How far apart correct outputs may be; 0 by default. */
    public Builder tolerance(double tolerance) {
      this.tolerance = tolerance;
      return this;
    }

    /**
     * Sets what the family says of the routing's distribution, and the distributions to profile for
     * it, each with its weight. They are taken in the order of the enum, whatever the map's.
     */
    public Builder skew(RoutingSkew skew, Map<RoutingSkew, Double> profiled) {
      this.skew = skew;
      this.skews = Maps.immutableEnumMap(profiled);
      return this;
    }

    /** Bytes beside the inputs that a launch of so many tokens reads; none by default. */
    public Builder weightBytes(LongUnaryOperator weightBytes) {
      this.weightBytes = weightBytes;
      return this;
    }

    /** The operation. */
    public TunedOperation build() {
      ImmutableList<DynamicDimension> allDimensions = dimensions.build();
      ImmutableList<ShapeConstraint> allConstraints = constraints.build();
      Map<Axis, String> symbols = new HashMap<>();
      allConstraints.forEach(constraint -> symbols.put(constraint.axis(), "*"));
      allDimensions.forEach(
          dimension -> dimension.axes().forEach(axis -> symbols.put(axis, dimension.name())));
      ImmutableList.Builder<ProfileInput> profiled = ImmutableList.builder();
      for (int i = 0; i < inputs.size(); i++) {
        profiled.add(profiled(i, symbols));
      }
      return new TunedOperation(
          keyedByShapes ? shapeFamily(symbols) : family,
          device,
          runners.build(),
          profiled.build(),
          allDimensions,
          allConstraints,
          outputs.build(),
          tolerance,
          skew,
          skews,
          weightBytes);
    }

    private ProfileInput profiled(int position, Map<Axis, String> symbols) {
      ProfileInput input = inputs.get(position);
      boolean dynamic = symbols.keySet().stream().anyMatch(axis -> axis.input() == position);
      return input instanceof ProfileInput.Shared shared && dynamic
          ? new ProfileInput.Synthesized(
              shared.tensor().spec(),
              initializers.getOrDefault(position, Initializers.random()),
              initializers.containsKey(position))
          : input;
    }

    private TuningFamily shapeFamily(Map<Axis, String> symbols) {
      TuningFamily.Builder builder =
          TuningFamily.builder(family.operation(), device.info()).putAll(attributes);
      for (int i = 0; i < inputs.size(); i++) {
        int position = i;
        builder.put(
            "input" + i,
            inputs.get(i).spec().map(spec -> pattern(position, spec, symbols)).orElse("none"));
      }
      return builder.build();
    }

    private static String pattern(int position, TensorSpec spec, Map<Axis, String> symbols) {
      StringBuilder pattern = new StringBuilder(spec.dtype().name());
      for (int dimension = 0; dimension < spec.rank(); dimension++) {
        pattern.append(dimension == 0 ? ' ' : 'x');
        pattern.append(
            symbols.getOrDefault(
                new Axis(position, dimension), Long.toString(spec.dim(dimension))));
      }
      return pattern.toString();
    }
  }
}
