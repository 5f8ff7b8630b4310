package io.moe4j.autotune.testing;

import io.moe4j.DType;
import io.moe4j.DeviceException;
import io.moe4j.ExpertWeights;
import io.moe4j.MoeCall;
import io.moe4j.MoeOutput;
import io.moe4j.MoeSpec;
import io.moe4j.Routing;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.UnsupportedOptionException;
import io.moe4j.autotune.testing.FakeTactic.Behaviour;
import io.moe4j.autotune.testing.FakeTactic.Work;
import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.LaunchArguments;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Reads the routing, checks it as a CPU would, writes an output and moves the clock. */
final class FakeGpuLayer implements BackendLayer {
  private final FakeGpu gpu;
  private final FakeGpuDevice device;
  private final MoeSpec spec;

  FakeGpuLayer(FakeGpu gpu, FakeGpuDevice device, MoeSpec spec) {
    this.gpu = gpu;
    this.device = device;
    this.spec = spec;
  }

  @Override
  public void setExpert(int heldExpert, ExpertWeights weights) {}

  @Override
  public void seal() {}

  @Override
  public long preparedBytes() {
    return 0;
  }

  @Override
  public List<Tactic> tactics(long tokens) {
    List<Tactic> tactics = new ArrayList<>();
    for (FakeTactic tactic : gpu.tacticsFor(tokens)) {
      tactics.add(new Tactic(tactic.name(), tactics.size()));
    }
    return tactics;
  }

  @Override
  public long workspaceBytes(Tactic tactic, long tokens) {
    return gpu.workspaceBytes;
  }

  @Override
  public void launch(
      LaunchArguments arguments,
      MoeCall call,
      Tactic tactic,
      long workspace,
      long workspaceBytes,
      long stream) {
    device.launch(stream, () -> run(call, tactic));
  }

  private void run(MoeCall call, Tactic tactic) {
    FakeTactic fake =
        gpu.tacticsFor(call.tokens()).stream()
            .filter(candidate -> candidate.name().equals(tactic.name()))
            .findFirst()
            .orElseThrow(() -> new UnsupportedOptionException("no tactic " + tactic));
    Work work = work(call);
    gpu.launches.add(
        new FakeLaunch(
            fake.name(),
            call.tokens(),
            call.routing().mode(),
            call.hiddenStates().codes().address(),
            output(call).address(),
            work));
    gpu.clock.advance(fake.cost().nanos(work, gpu.launches.size()));
    switch (fake.behaviour()) {
      case REFUSED -> throw new UnsupportedOptionException(tactic + " does not do this");
      case FAULTING -> throw new DeviceException(tactic + ": illegal address");
      case BREAKING -> device.breakDown();
      case SEGFAULT -> writeToNowhere();
      case INTERRUPTED -> endBy("TERM");
      case KILLED -> endBy("KILL");
      case ABORT -> Runtime.getRuntime().halt(134);
      case HANG -> hang();
      case CORRECT, WRONG, INFINITE, INCOMPLETE -> write(output(call), fake.behaviour());
    }
  }

  private static Tensor output(MoeCall call) {
    return call.output() instanceof MoeOutput.Finalized finalized
        ? finalized.output()
        : ((MoeOutput.Permuted) call.output()).rows();
  }

  private void write(Tensor tensor, Behaviour behaviour) {
    ByteBuffer bytes = device.bytes(tensor);
    long rows = tensor.spec().dim(0);
    long columns = tensor.spec().dim(1);
    boolean wide = tensor.spec().dtype() == DType.F32;
    for (int row = 0; row < rows; row++) {
      boolean last = row == rows - 1;
      if (last && behaviour == Behaviour.INCOMPLETE) {
        return;
      }
      for (int column = 0; column < columns; column++) {
        float value = (row * 31 + column) % 17 - 8;
        if (behaviour == Behaviour.WRONG) {
          value *= 1.05f;
        } else if (last && behaviour == Behaviour.INFINITE) {
          value = Float.POSITIVE_INFINITY;
        }
        int i = (int) (row * columns + column);
        int bits = Float.floatToRawIntBits(value);
        if (wide) {
          bytes.putInt(4 * i, bits);
        } else {
          bytes.putShort(2 * i, (short) (bits >>> 16));
        }
      }
    }
  }

  private Work work(MoeCall call) {
    int[] load = new int[spec.numExperts()];
    int tokens = (int) call.tokens();
    for (int token = 0; token < tokens; token++) {
      Set<Integer> chosen = new HashSet<>();
      for (int slot = 0; slot < spec.topK(); slot++) {
        int expert = expert(call.routing(), token, slot);
        if (expert < 0 || expert >= spec.numExperts() || !chosen.add(expert)) {
          throw new AssertionError("token " + token + " has expert " + expert + " of " + chosen);
        }
        load[expert]++;
      }
    }
    int first = spec.expertParallel().localExpertOffset();
    int localRows = 0;
    for (int expert = first; expert < first + spec.expertParallel().localNumExperts(); expert++) {
      localRows += load[expert];
    }
    return new Work(
        tokens,
        Arrays.stream(load).max().orElse(0),
        (int) Arrays.stream(load).filter(count -> count > 0).count(),
        localRows);
  }

  private int expert(Routing routing, int token, int slot) {
    int i = token * spec.topK() + slot;
    if (routing instanceof Routing.Packed packed) {
      return device.bytes(packed.packed()).getInt(4 * i) >>> 16;
    }
    if (routing instanceof Routing.Unpacked unpacked) {
      return device.bytes(unpacked.ids()).getInt(4 * i);
    }
    return topExpert(((Routing.FromLogits) routing).logits(), token, slot);
  }

  /** The expert with the {@code slot + 1}-th largest logit. */
  private int topExpert(Tensor logits, int token, int slot) {
    int experts = spec.numExperts();
    ByteBuffer bytes = device.bytes(logits);
    Integer[] order = new Integer[experts];
    Arrays.setAll(order, expert -> expert);
    Arrays.sort(
        order,
        (a, b) ->
            Float.compare(
                bytes.getFloat(4 * (token * experts + b)),
                bytes.getFloat(4 * (token * experts + a))));
    return order[slot];
  }

  /** A store that no page is behind, as a kernel with a wrong pointer does. */
  private static void writeToNowhere() {
    try {
      Class<?> unsafe = Class.forName("sun.misc.Unsafe");
      Field instance = unsafe.getDeclaredField("theUnsafe");
      instance.setAccessible(true);
      unsafe.getMethod("putAddress", long.class, long.class).invoke(instance.get(null), 8L, 1L);
    } catch (ReflectiveOperationException e) {
      throw new LinkageError("no way to crash", e);
    }
  }

  /** Not by SIGINT, which shells have background processes ignore. */
  private static void endBy(String signal) {
    try {
      new ProcessBuilder("kill", "-" + signal, Long.toString(ProcessHandle.current().pid()))
          .start()
          .waitFor();
      hang();
    } catch (IOException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private static void hang() {
    try {
      Thread.sleep(600_000);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public LaunchArguments newLaunchArguments() {
    return () -> {};
  }

  @Override
  public void close() {}
}
