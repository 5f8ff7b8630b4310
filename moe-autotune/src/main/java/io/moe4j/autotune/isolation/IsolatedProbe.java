package io.moe4j.autotune.isolation;

import io.moe4j.MoeLayer;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.Candidate;
import io.moe4j.autotune.search.Rehearsal;
import java.util.Optional;

/**
 * Launches tactics in a child process with a layer of the same shape. When the child dies, the
 * tactic that it was in is to blame, and the next tactic gets another child. The first launch
 * starts the first child; close the probe to end the last one. Confined to one thread.
 */
public final class IsolatedProbe implements Rehearsal, AutoCloseable {
  private final MoeLayer layer;
  private final CallKind kind;
  private final IsolationOptions options;
  private Optional<ProbeProcess> process = Optional.empty();

  /** A probe of a layer's calls of one kind. */
  public IsolatedProbe(MoeLayer layer, CallKind kind, IsolationOptions options) {
    this.layer = layer;
    this.kind = kind;
    this.options = options;
  }

  /**
   * The signal, exception or exit code that a launch ended the child with, or that it hung.
   *
   * @throws ProbeException if a child cannot be started, dies or hangs between launches, or was
   *     ended from outside (Ctrl-C reaches children too, and a system that is out of memory kills
   *     them), which is no tactic's fault
   */
  @Override
  public Optional<String> reasonAgainst(Candidate candidate, long tokens) {
    if (process.isEmpty()) {
      process = Optional.of(ProbeProcess.start(request(), options));
    }
    boolean survived = false;
    try {
      Optional<String> death = process.get().attempt(new Trial(candidate.tactic().name(), tokens));
      survived = death.isEmpty();
      return death;
    } finally {
      if (!survived) {
        close();
      }
    }
  }

  private ProbeRequest request() {
    return new ProbeRequest(
        layer.device().device().toString(),
        layer.device().options(),
        layer.spec(),
        layer.hasBias(),
        kind);
  }

  @Override
  public void close() {
    process.ifPresent(ProbeProcess::close);
    process = Optional.empty();
  }
}
