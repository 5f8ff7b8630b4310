package io.moe4j.autotune.testing;

import com.google.common.collect.ImmutableList;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.autotune.profile.TunableRunner;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A runner of an operation that computes nothing; a launch takes what a test says. */
public final class FakeRunner implements TunableRunner {
  private final String name;
  private final FakeClock clock;
  private final List<Tactic> tactics = new ArrayList<>();
  private final Map<String, Double> micros = new HashMap<>();
  private final List<String> launched = new ArrayList<>();
  private int preparations;
  private Runnable onLaunch = () -> {};

  /** A runner whose tactics take 100 microseconds each. */
  public FakeRunner(String name, FakeClock clock, String... tactics) {
    this.name = name;
    this.clock = clock;
    for (String tactic : tactics) {
      this.tactics.add(new Tactic(tactic, this.tactics.size()));
    }
  }

  /** Sets a tactic's time. */
  public FakeRunner taking(String tactic, double micros) {
    this.micros.put(tactic, micros);
    return this;
  }

  /** Called within every launch. */
  public FakeRunner onLaunch(Runnable hook) {
    this.onLaunch = hook;
    return this;
  }

  /** Tactics launched so far, each once, in the order of their first launch. */
  public List<String> tried() {
    return launched.stream().distinct().toList();
  }

  /** Launches so far. */
  public int launches() {
    return launched.size();
  }

  /** Times that it was made ready. */
  public int preparations() {
    return preparations;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Tactic> tactics(ImmutableList<Optional<TensorSpec>> shapes) {
    return tactics;
  }

  @Override
  public Prepared prepare(ImmutableList<ImmutableList<Optional<Tensor>>> inputs) {
    preparations++;
    clock.advance(1e9);
    return new Prepared() {
      @Override
      public void launch(int index, Tactic tactic, Stream stream) {
        launched.add(tactic.name());
        clock.advance(micros.getOrDefault(tactic.name(), 100.0) * 1e3);
        onLaunch.run();
      }

      @Override
      public void close() {}
    };
  }
}
