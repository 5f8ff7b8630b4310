package io.moe4j.autotune.search;

import com.google.common.collect.ImmutableList;
import io.moe4j.DeviceException;
import io.moe4j.MoeDevice;
import io.moe4j.RoutingSkew;
import io.moe4j.Stream;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.profile.ProfileInputs;
import io.moe4j.autotune.profile.TunableRunner;
import io.moe4j.autotune.profile.TunedOperation;
import io.moe4j.spi.LaunchTimer;
import java.util.HashMap;
import java.util.Map;

/**
 * Times candidates on real inputs, by the device's clock. One sample is the mean over a rotation of
 * all copies of the inputs: each candidate sees the same work, and none finds its inputs in a cache
 * because another has just read them. Owns the prepared runners; confined to one thread.
 */
final class Measurement implements AutoCloseable {
  private static final int CLOCK_ATTEMPTS = 3;
  private static final double LONG_SAMPLE_NANOS = 20e6;

  private final MoeDevice device;
  private final ProfileInputs inputs;
  private final LaunchTimer timer;
  private final Map<TunableRunner, TunableRunner.Prepared> prepared = new HashMap<>();
  private final Map<Key, LaunchTimer.Timing> timings = new HashMap<>();
  private long launches;

  private record Key(Candidate candidate, RoutingSkew skew) {}

  Measurement(TunedOperation operation, ProfileInputs inputs) {
    this.device = operation.device();
    this.inputs = inputs;
    this.timer = device.newLaunchTimer();
    try {
      ImmutableList<TunableRunner> runners = operation.runners();
      for (TunableRunner runner : runners) {
        prepared.put(runner, runner.prepare(inputs.rows()));
      }
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  /**
   * A candidate's first sample. Its first launch may be slow for reasons that do not come back;
   * unless the sample is so long that this does not count, it is taken again.
   */
  double firstSample(Candidate candidate, RoutingSkew skew) {
    double nanos = sample(candidate, skew);
    return isLong(nanos) ? nanos : sample(candidate, skew);
  }

  /** Whether a sample of such launches takes so long that a hitch in it counts little. */
  boolean isLong(double nanos) {
    return nanos * inputs.copies() >= LONG_SAMPLE_NANOS;
  }

  /** Mean time of a launch over one rotation, in nanoseconds. */
  double sample(Candidate candidate, RoutingSkew skew) {
    LaunchTimer.Timing timing =
        timings.computeIfAbsent(new Key(candidate, skew), this::prepareTiming);
    for (int attempt = 0; attempt < CLOCK_ATTEMPTS; attempt++) {
      long nanos = timing.nanoseconds();
      launches += inputs.copies();
      if (nanos > 0) {
        return (double) nanos / inputs.copies();
      }
    }
    throw new DeviceException(
        "the device's clock stood still or ran backwards " + CLOCK_ATTEMPTS + " times");
  }

  private LaunchTimer.Timing prepareTiming(Key key) {
    TunableRunner.Prepared runner = prepared.get(key.candidate().runner());
    int first = inputs.index(key.skew(), 0);
    return timer.prepare(
        stream -> {
          for (int copy = 0; copy < inputs.copies(); copy++) {
            runner.launch(first + copy, key.candidate().tactic(), stream);
          }
        });
  }

  /** Frees what was prepared for a candidate that is out of the race. */
  void forget(Candidate candidate) {
    for (RoutingSkew skew : inputs.skews()) {
      LaunchTimer.Timing timing = timings.remove(new Key(candidate, skew));
      if (timing != null) {
        timing.close();
      }
    }
  }

  /**
   * Finds out whether a launch that failed has left a device that works.
   *
   * @throws DeviceException if it fails whatever it is asked for
   */
  void checkDevice() {
    device.synchronize(Stream.DEFAULT);
  }

  /** Launches that came to their end so far. */
  long launches() {
    return launches;
  }

  @Override
  public void close() {
    timings.values().forEach(LaunchTimer.Timing::close);
    prepared.values().forEach(TunableRunner.Prepared::close);
    timer.close();
  }
}
