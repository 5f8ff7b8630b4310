package io.moe4j;

import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.DeviceMemory;
import java.lang.ref.Reference;
import java.util.List;
import java.util.function.Supplier;

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
    this.resource = new NativeResource(this, "layer", device.owned(backend::close));
    this.validator = new CallValidator(device, spec);
    try {
      this.selector = Arguments.notNull("tactics.bind", tactics.bind(this));
    } catch (Throwable e) {
      resource.close();
      throw e;
    }
  }

  static MoeLayer prepare(
      MoeDevice device, MoeSpec spec, MoeWeights weights, TacticSelector.Source tactics) {
    Arguments.notNull("spec", spec);
    Arguments.notNull("weights", weights);
    Arguments.notNull("tactics", tactics);
    return device.using(
        () -> {
          BackendLayer backend = device.backend().createLayer(spec);
          boolean hasBias;
          try {
            hasBias = setExperts(backend, spec, weights);
            backend.seal();
          } catch (Throwable e) {
            backend.close();
            throw e;
          }
          return new MoeLayer(device, spec, hasBias, backend, tactics);
        });
  }

  private static boolean setExperts(BackendLayer backend, MoeSpec spec, MoeWeights weights) {
    boolean hasBias = false;
    for (int expert = 0; expert < spec.numHeldExperts(); expert++) {
      ExpertWeights expertWeights = weights.expert(expert);
      ExpertValidator.check(spec, expert, expertWeights);
      hasBias |= expertWeights.hasBias();
      try {
        backend.setExpert(expert, expertWeights);
      } finally {
        // Mapped weights go with the last reference to them.
        Reference.reachabilityFence(expertWeights);
      }
    }
    return hasBias;
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
    return using(backend::preparedBytes);
  }

  /** Tactics valid for this many tokens, the default first. */
  public List<Tactic> tactics(long tokens) {
    checkTokens("tokens", tokens);
    return using(() -> backend.tactics(tokens));
  }

  /** Bytes of workspace for up to {@code maxTokens} tokens with any tactic. */
  public long workspaceBytes(long maxTokens) {
    checkTokens("maxTokens", maxTokens);
    return using(() -> largestWorkspaceUpTo(maxTokens));
  }

  private long largestWorkspaceUpTo(long maxTokens) {
    long bytes = largestWorkspace(maxTokens);
    for (long tokens = 1; tokens < maxTokens; tokens *= 2) {
      bytes = Math.max(bytes, largestWorkspace(tokens));
    }
    return bytes;
  }

  private long largestWorkspace(long tokens) {
    return backend.tactics(tokens).stream()
        .mapToLong(tactic -> backend.workspaceBytes(tactic, tokens))
        .max()
        .orElse(0);
  }

  /** A workspace for calls of up to {@code maxTokens} tokens, to be closed by the caller. */
  public Workspace newWorkspace(long maxTokens) {
    checkTokens("maxTokens", maxTokens);
    return using(
        () -> {
          DeviceMemory memory = device.backend().allocate(largestWorkspaceUpTo(maxTokens));
          try {
            return new Workspace(device, memory, backend.newLaunchArguments());
          } catch (Throwable e) {
            memory.close();
            throw e;
          }
        });
  }

  private <T> T using(Supplier<T> operation) {
    resource.acquire();
    try {
      return operation.get();
    } finally {
      resource.release();
      Reference.reachabilityFence(this);
    }
  }

  /** The tactic that this layer's selector chooses for a call. */
  public Tactic tactic(MoeCall call) {
    validator.check(Arguments.notNull("call", call));
    return selector.select(call);
  }

  /**
   * Runs a call with the tactic that this layer's selector chooses, on the default stream. On the
   * CPU the result is there on return. A call of no tokens is checked, and nothing is launched.
   */
  public void run(MoeCall call, Workspace workspace) {
    run(call, workspace, Stream.DEFAULT);
  }

  /**
   * Runs a call with the tactic that this layer's selector chooses: on a CUDA device, enqueues it
   * on a stream and does not wait. A {@link CudaStream} that is being captured records it.
   */
  public void run(MoeCall call, Workspace workspace, Stream stream) {
    check(call, workspace);
    launch(call, selector.select(call), workspace, stream);
  }

  /**
   * Runs a call with a given tactic: what tuning times is exactly what {@link #run(MoeCall,
   * Workspace, Stream)} does.
   */
  public void run(MoeCall call, Tactic tactic, Workspace workspace, Stream stream) {
    check(call, workspace);
    launch(call, tactic, workspace, stream);
  }

  private void check(MoeCall call, Workspace workspace) {
    validator.check(Arguments.notNull("call", call));
    Arguments.notNull("workspace", workspace).checkDevice(device);
  }

  private void launch(MoeCall call, Tactic tactic, Workspace workspace, Stream stream) {
    Arguments.notNull("tactic", tactic);
    long handle = StreamUse.begin(device, stream);
    try {
      resource.acquire();
      try {
        workspace.acquire();
        try {
          launch(call, tactic, workspace, handle, StreamUse.capture(stream));
        } finally {
          workspace.release();
        }
      } finally {
        resource.release();
      }
    } finally {
      StreamUse.end(stream);
      // The collector may find an object unreachable while a method of it still runs.
      Reference.reachabilityFence(this);
      Reference.reachabilityFence(workspace);
      Reference.reachabilityFence(call);
      Reference.reachabilityFence(stream);
    }
  }

  private void launch(
      MoeCall call, Tactic tactic, Workspace workspace, long stream, Capture capture) {
    CallTensors.acquire(call);
    try {
      CallValidator.checkOverlap(call);
      if (call.tokens() > 0) {
        backend.launch(
            workspace.arguments(), call, tactic, workspace.address(), workspace.bytes(), stream);
        if (capture != null) {
          keep(call, workspace, capture);
        }
      }
    } finally {
      CallTensors.release(call);
    }
  }

  /** What a captured launch uses, replays of its graph go on using. */
  private void keep(MoeCall call, Workspace workspace, Capture capture) {
    resource.acquire();
    capture.keep(this::release);
    workspace.hold();
    capture.keep(workspace::letGo);
    CallTensors.acquire(call);
    capture.keep(() -> CallTensors.release(call));
  }

  private void release() {
    resource.release();
  }

  private static void checkTokens(String name, long tokens) {
    if (tokens < 0 || tokens > MAX_TOKENS) {
      throw new InvalidArgumentException(name, tokens, "0 to " + MAX_TOKENS);
    }
  }

  /** Frees the prepared weights. Refused while a call runs; the second call does nothing. */
  @Override
  public void close() {
    resource.close();
  }
}
