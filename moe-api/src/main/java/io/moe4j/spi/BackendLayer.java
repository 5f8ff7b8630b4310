package io.moe4j.spi;

import io.moe4j.ExpertWeights;
import io.moe4j.MoeCall;
import io.moe4j.Tactic;
import java.util.List;

/** A layer on a device. Immutable and shareable once sealed. */
public interface BackendLayer extends AutoCloseable {

  /** Repacks one expert's weights; afterwards the source is not needed. */
  void setExpert(int heldExpert, ExpertWeights weights);

  /** Makes the layer launchable. */
  void seal();

  /** Bytes of the prepared weights. */
  long preparedBytes();

  /** Tactics valid for this many tokens, the default first. */
  List<Tactic> tactics(long tokens);

  /** Workspace that a launch of up to {@code tokens} tokens needs. */
  long workspaceBytes(Tactic tactic, long tokens);

  /**
   * Launches a checked call. Allocates nothing on the Java heap; natively only what all later
   * launches of its kind use again.
   *
   * @param arguments a slot of this thread, made by the same device's back end
   */
  void launch(
      LaunchArguments arguments,
      MoeCall call,
      Tactic tactic,
      long workspace,
      long workspaceBytes,
      long stream);

  /** A place for one launch's arguments, to be reused from launch to launch. */
  LaunchArguments newLaunchArguments();

  /** Frees the prepared weights; called once. Must not throw. */
  @Override
  void close();
}
