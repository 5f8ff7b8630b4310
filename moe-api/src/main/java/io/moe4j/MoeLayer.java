package io.moe4j;

import io.moe4j.spi.BackendLayer;
import java.util.List;

/**
 * A Mixture-of-Experts layer whose weights are prepared on a device. Immutable, and safe from any
 * thread; each run is confined to one thread with its {@link Workspace}.
 */
public final class MoeLayer implements AutoCloseable {
  /** Most tokens of one call. */
  public static final long MAX_TOKENS = 1L << 24;

  private final MoeDevice device;
  private final MoeSpec spec;
  private final boolean hasBias;
  private final BackendLayer backend;
  private final NativeResource resource;
  private final CallValidator validator;
  private final TacticSelector selector;

  private MoeLayer(
      MoeDevice device,
      MoeSpec spec,
      boolean hasBias,
      BackendLayer backend,
      TacticSelector.Source tactics) {
    this.device = device;
    this.spec = spec;
    this.hasBias = hasBias;
    this.backend = backend;
    this.resource = new NativeResource(this, "layer", backend::close);
    this.validator = new CallValidator(device, spec);
    this.selector = tactics.bind(this);
  }

  static MoeLayer prepare(
      MoeDevice device, MoeSpec spec, MoeWeights weights, TacticSelector.Source tactics) {
    BackendLayer backend = device.backend().createLayer(spec);
    try {
      boolean hasBias = false;
      for (int expert = 0; expert < spec.numHeldExperts(); expert++) {
        ExpertWeights expertWeights = weights.expert(expert);
        ExpertValidator.check(spec, expert, expertWeights);
        hasBias |=
            expertWeights.gate().bias().isPresent() || expertWeights.down().bias().isPresent();
        backend.setExpert(expert, expertWeights);
      }
      backend.seal();
      return new MoeLayer(device, spec, hasBias, backend, tactics);
    } catch (RuntimeException e) {
      backend.close();
      throw e;
    }
  }

  /** Where the layer lives. */
  public MoeDevice device() {
    return device;
  }

  /** What the layer is. */
  public MoeSpec spec() {
    return spec;
  }

  /** Whether any expert has a bias. */
  public boolean hasBias() {
    return hasBias;
  }

  /** Bytes of the prepared weights, padding included. */
  public long preparedBytes() {
    return backend.preparedBytes();
  }

  /** Tactics valid for this many tokens, the default first. */
  public List<Tactic> tactics(long tokens) {
    checkTokens(tokens);
    resource.acquire();
    try {
      return backend.tactics(tokens);
    } finally {
      resource.release();
    }
  }

  /** Bytes of workspace for up to {@code maxTokens} tokens with any tactic. */
  public long workspaceBytes(long maxTokens) {
    checkTokens(maxTokens);
    resource.acquire();
    try {
      long bytes = 0;
      for (long tokens = 1; tokens < maxTokens; tokens *= 2) {
        bytes = Math.max(bytes, largestWorkspace(tokens));
      }
      return Math.max(bytes, largestWorkspace(maxTokens));
    } finally {
      resource.release();
    }
  }

  private long largestWorkspace(long tokens) {
    return backend.tactics(tokens).stream()
        .mapToLong(tactic -> backend.workspaceBytes(tactic, tokens))
        .max()
        .orElse(0);
  }

  /** A workspace for calls of up to {@code maxTokens} tokens, to be closed by the caller. */
  public Workspace newWorkspace(long maxTokens) {
    return new Workspace(device, workspaceBytes(maxTokens), backend.newLaunchArguments());
  }

  /**
   * Runs a call with the tactic that this layer's selector chooses, on the default stream. On the
   * CPU the result is there on return.
   */
  public void run(MoeCall call, Workspace workspace) {
    run(call, workspace, Stream.DEFAULT);
  }

  /** Runs a call with the tactic that this layer's selector chooses. */
  public void run(MoeCall call, Workspace workspace, Stream stream) {
    validator.check(call);
    launch(call, selector.select(call), workspace, stream);
  }

  /**
   * Runs a call with a given tactic: what tuning times is exactly what {@link #run(MoeCall,
   * Workspace, Stream)} does.
   */
  public void run(MoeCall call, Tactic tactic, Workspace workspace, Stream stream) {
    validator.check(call);
    launch(call, tactic, workspace, stream);
  }

  private void launch(MoeCall call, Tactic tactic, Workspace workspace, Stream stream) {
    workspace.checkDevice(device);
    resource.acquire();
    try {
      workspace.acquire();
      try {
        CallTensors.acquire(call);
        try {
          backend.launch(
              workspace.arguments(),
              call,
              tactic,
              workspace.address(),
              workspace.bytes(),
              stream.handle());
        } finally {
          CallTensors.release(call);
        }
      } finally {
        workspace.release();
      }
    } finally {
      resource.release();
    }
  }

  private static void checkTokens(long tokens) {
    if (tokens < 0 || tokens > MAX_TOKENS) {
      throw new InvalidArgumentException("tokens", tokens, "0 to " + MAX_TOKENS);
    }
  }

  /** Frees the prepared weights. Refused while a call runs; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
