/** JavaCPP bindings of moe4j.h, and the CPU and CUDA back ends of moe4j on top of them. */
module io.moe4j.backend {
  requires io.moe4j;
  requires transitive org.bytedeco.javacpp;

  exports io.moe4j.global;
  exports io.moe4j.nativelib;
  exports io.moe4j.presets;

  provides io.moe4j.spi.BackendProvider with
      io.moe4j.backend.CpuBackendProvider,
      io.moe4j.backend.CudaBackendProvider;
}
