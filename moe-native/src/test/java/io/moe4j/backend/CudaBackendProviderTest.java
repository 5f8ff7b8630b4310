package io.moe4j.backend;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.child.ChildJvm;
import org.junit.jupiter.api.Test;

/** A process that sees no GPU, whether the CUDA library is there or not. */
final class CudaBackendProviderTest {

  @Test
  void cudaIsRefusedInOneSentenceThatSaysWhy() throws Exception {
    String output = ChildJvm.open("cuda:0");
    assertTrue(
        output.matches("DeviceUnavailableException: cuda:0 is not available: CUDA: \\S.{20,}\n"),
        output);
  }

  @Test
  void autoFallsBackToTheCpuAndSaysWhy() throws Exception {
    String output = ChildJvm.open("auto");
    assertTrue(
        output.matches("opened cpu\nfallback: cuda:0 is not available: CUDA: \\S.{20,}\n"), output);
  }

  @Test
  void theCpuTouchesNothingOfCuda() throws Exception {
    String output = ChildJvm.open("auto", "-Xlog:class+load:stdout");
    assertTrue(output.contains("io.moe4j.backend.NativeDevice"), output);
    assertFalse(output.contains("org.bytedeco.cuda"), output);
  }
}
