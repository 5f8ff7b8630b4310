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
import java.util.function.Consumer;

/** A runner of an operation that computes nothing; a launch takes what a test says. */
public final class FakeRunner implements TunableRunner {
  private final String name;
  private final FakeClock clock;
  private final List<Tactic> tactics = new ArrayList<>();
  private final Map<String, Double> micros = new HashMap<>();
  private final List<String> launched = new ArrayList<>();
  private int preparations;
  private Runnable onLaunch = () -> {};
  private Consumer<ImmutableList<ImmutableList<Optional<Tensor>>>> onPrepare = inputs -> {};
  private int lastIndex;

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

  /** Called with the inputs of every preparation. */
  public FakeRunner onPrepare(Consumer<ImmutableList<ImmutableList<Optional<Tensor>>>> hook) {
    this.onPrepare = hook;
    return this;
  }

  /** The tactic of the last launch. */
  public String lastTactic() {
    return launched.get(launched.size() - 1);
  }

  /** The position of the last launch's inputs. */
  public int lastIndex() {
    return lastIndex;
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
    onPrepare.accept(inputs);
    return new Prepared() {
      @Override
      public void launch(int index, Tactic tactic, Stream stream) {
        launched.add(tactic.name());
        lastIndex = index;
        clock.advance(micros.getOrDefault(tactic.name(), 100.0) * 1e3);
        onLaunch.run();
      }

      @Override
      public void close() {}
    };
  }
}
