package io.moe4j.autotune.testing;

/**
 * A tactic of the fake GPU.
 *
 * @param name its name
 * @param cost how long a launch takes
 * @param behaviour what a launch does
 */
public record FakeTactic(String name, Cost cost, Behaviour behaviour) {

  /** What a launch has to do, as the fake GPU reads it from the routing that it is given. */
  public record Work(long tokens, int hottestExpert, int activeExperts, int localRows) {}

  /** Time of a launch. */
  @FunctionalInterface
  public interface Cost {
    /** Nanoseconds of the launch that is the {@code launch}-th of its device. */
    double nanos(Work work, long launch);
  }

  /** What a launch does besides taking time. */
  public enum Behaviour {
    /** Writes the right output. */
    CORRECT,
    /** Writes an output that is 5% off. */
    WRONG,
    /** Writes the right output, but for an infinity in its last row. */
    INFINITE,
    /** Writes all rows but the last. */
    INCOMPLETE,
    /** Refuses. */
    REFUSED,
    /** Reports a failure of the device. */
    FAULTING,
    /** Breaks the device, which reports failures from then on until it is opened anew. */
    BREAKING,
    /** Kills the process by a real segmentation fault. */
    SEGFAULT,
    /** Aborts the process, as a native assertion does. */
    ABORT,
    /** Is asked to end while it runs. */
    INTERRUPTED,
    /** Is killed while it runs, as by a system that is out of memory. */
    KILLED,
    /** Never returns. */
    HANG
  }

  /** A correct tactic with a fixed time. */
  public static FakeTactic of(String name, double micros) {
    return of(name, (work, launch) -> micros * 1e3);
  }

  /** A correct tactic. */
  public static FakeTactic of(String name, Cost cost) {
    return new FakeTactic(name, cost, Behaviour.CORRECT);
  }

  /** The same tactic, behaving otherwise. */
  public FakeTactic behaving(Behaviour behaviour) {
    return new FakeTactic(name, cost, behaviour);
  }
}
