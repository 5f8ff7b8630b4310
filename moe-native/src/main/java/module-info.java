/**
 * JavaCPP bindings of {@code moe4j.h}, and the CPU and CUDA back ends of moe4j on top of them.
 *
 * <p>The native libraries come from the artifact with the platform's classifier, e.g. {@code
 * linux-x86_64}. On the module path it is the module {@code io.moe4j.backend.linux.x86_64}, which
 * nothing requires: name it with {@code --add-modules}. From JDK 24 on, {@code
 * --enable-native-access=org.bytedeco.javacpp,io.moe4j.backend,org.bytedeco.cuda} (on the class
 * path {@code ALL-UNNAMED}) keeps the JVM from warning of native code.
 */
module io.moe4j.backend {
  requires io.moe4j;
  requires org.bytedeco.cuda;
  requires transitive org.bytedeco.javacpp;

  exports io.moe4j.global;
  exports io.moe4j.nativelib;
  exports io.moe4j.presets;

  provides io.moe4j.spi.BackendProvider with
      io.moe4j.backend.CpuBackendProvider,
      io.moe4j.backend.CudaBackendProvider;
}
