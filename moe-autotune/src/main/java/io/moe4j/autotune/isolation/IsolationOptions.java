package io.moe4j.autotune.isolation;

import com.google.common.collect.ImmutableList;
import java.time.Duration;

/**
 * How tactics are tried in another process. It loads from this one's class path and module path and
 * opens the device by its name: its back end has to be one that {@link java.util.ServiceLoader}
 * finds there. It works in a temporary folder.
 *
 * @param startTimeout for the process to prepare its layer
 * @param tacticTimeout for one launch; a tactic that hangs is as bad as one that crashes
 * @param jvmArguments arguments of that process's virtual machine, besides those it gets anyway
 */
public record IsolationOptions(
    Duration startTimeout, Duration tacticTimeout, ImmutableList<String> jvmArguments) {
  /** Five minutes to prepare, one minute a launch. */
  public static final IsolationOptions DEFAULT =
      new IsolationOptions(Duration.ofMinutes(5), Duration.ofMinutes(1), ImmutableList.of());
}
