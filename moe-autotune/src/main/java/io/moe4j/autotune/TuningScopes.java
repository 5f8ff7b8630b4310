package io.moe4j.autotune;

import com.google.common.base.Ticker;
import io.moe4j.InvalidArgumentException;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;

/** The open scopes of all threads. Safe from any thread. */
final class TuningScopes {
  /** Not static: a scope is one of one tuner, and tuners are few and live long. */
  @SuppressWarnings("ThreadLocalUsage")
  private final ThreadLocal<TuningScope> innermost = new ThreadLocal<>();

  private final AtomicInteger open = new AtomicInteger();
  private final AtomicInteger profiling = new AtomicInteger();
  private final Ticker ticker;

  TuningScopes(Ticker ticker) {
    this.ticker = ticker;
  }

  TuningScope enter(TuningOptions options) {
    TuningScope scope =
        new TuningScope(this, Optional.ofNullable(innermost.get()), options, ticker);
    innermost.set(scope);
    open.incrementAndGet();
    if (scope.profiles()) {
      profiling.incrementAndGet();
    }
    return scope;
  }

  void leave(TuningScope scope) {
    if (innermost.get() != scope) {
      throw new InvalidArgumentException("scope", "one around another", "the innermost scope");
    }
    scope.outer().ifPresentOrElse(innermost::set, innermost::remove);
    open.decrementAndGet();
    if (scope.profiles()) {
      profiling.decrementAndGet();
    }
  }

  /** The innermost scope of this thread, or null. Costs one read while no thread has a scope. */
  TuningScope current() {
    return open.get() == 0 ? null : innermost.get();
  }

  /** Whether any thread has a scope that profiles. */
  boolean profiling() {
    return profiling.get() > 0;
  }
}
