package io.moe4j;

import io.moe4j.spi.BackendDevice;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** Lets tests write into a workspace, which users cannot. */
public final class WorkspaceMemory {
  private WorkspaceMemory() {}

  /** Fills a workspace, as a call before might have left it. */
  public static void fill(Workspace workspace, byte value) {
    BackendDevice backend = workspace.device().backend();
    byte[] bytes = new byte[Math.toIntExact(workspace.bytes())];
    Arrays.fill(bytes, value);
    backend.copyToDevice(workspace.address(), ByteBuffer.wrap(bytes), Stream.DEFAULT.handle());
  }
}
