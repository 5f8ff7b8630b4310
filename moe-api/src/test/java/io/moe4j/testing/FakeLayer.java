package io.moe4j.testing;

import io.moe4j.ExpertWeights;
import io.moe4j.MoeCall;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingMode;
import io.moe4j.Tactic;
import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.LaunchArguments;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/** A layer of a {@link FakeDevice}. */
final class FakeLayer implements BackendLayer {
  private static final long WORKSPACE_BYTES_PER_TOKEN = 128;

  private final FakeDevice device;
  private final MoeSpec spec;
  private final AtomicBoolean closed = new AtomicBoolean();
  private int experts;
  private boolean sealed;

  FakeLayer(FakeDevice device, MoeSpec spec) {
    this.device = device;
    this.spec = spec;
    device.liveLayers.incrementAndGet();
  }

  @Override
  public void setExpert(int heldExpert, ExpertWeights weights) {
    if (heldExpert != experts++) {
      throw new AssertionError("experts out of order");
    }
    device.expert(weights);
  }

  @Override
  public void seal() {
    if (experts != spec.numHeldExperts()) {
      throw new AssertionError("sealed with an expert missing");
    }
    sealed = true;
  }

  @Override
  public long preparedBytes() {
    checkOpen();
    return 0;
  }

  @Override
  public List<Tactic> tactics(long tokens) {
    checkOpen();
    return device.tactics(tokens);
  }

  @Override
  public long workspaceBytes(Tactic tactic, long tokens) {
    checkOpen();
    return WORKSPACE_BYTES_PER_TOKEN * tokens;
  }

  @Override
  public void launch(
      LaunchArguments arguments,
      MoeCall call,
      Tactic tactic,
      long workspace,
      long workspaceBytes,
      long stream) {
    checkOpen();
    if (!sealed) {
      throw new AssertionError("launched before it was sealed");
    }
    device.launch(call, tactic, stream);
    device.launches.incrementAndGet();
    if (call.routing().mode() == RoutingMode.FROM_LOGITS) {
      device.routingLaunches.incrementAndGet();
    }
  }

  @Override
  public LaunchArguments newLaunchArguments() {
    checkOpen();
    return () -> {};
  }

  private void checkOpen() {
    if (closed.get()) {
      throw new AssertionError("used after it was closed");
    }
  }

  @Override
  public void close() {
    if (!closed.compareAndSet(false, true)) {
      throw new AssertionError("closed twice");
    }
    device.liveLayers.decrementAndGet();
  }
}
