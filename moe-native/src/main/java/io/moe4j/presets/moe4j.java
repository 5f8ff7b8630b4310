package io.moe4j.presets;

import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * How JavaCPP binds {@code moe4j.h}, and the structs of DLPack: structs and handles become classes
 * of {@code io.moe4j.nativelib}, functions and constants members of {@code io.moe4j.global.moe4j}.
 *
 * <p>The header has no CUDA types, so that these bindings and the library behind them serve the CPU
 * and the GPU jar alike; the two differ in what lies beside {@code libmoe4j.so}.
 */
@Properties(
    value = {
      @Platform(
          value = "linux-x86_64",
          include = {"moe4j/moe4j.h", "dlpack_abi.h"},
          compiler = "cpp17",
          link = "moe4j"),
      @Platform(value = "linux-x86_64", extension = "-gpu")
    },
    target = "io.moe4j.nativelib",
    global = "io.moe4j.global.moe4j")
public class moe4j implements InfoMapper {

  @Override
  public void map(InfoMap infoMap) {
    infoMap.put(new Info("MOE4J_API").cppTypes().annotations());
  }
}
