package io.moe4j.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.base.Splitter;
import io.moe4j.MoeDevice;
import io.moe4j.child.ChildJvm;
import io.moe4j.global.moe4j;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.Loader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Loading: what is loaded from where, and what users read when it cannot be. */
final class NativeLibraryTest {
  @TempDir Path folder;

  @Test
  void loadsBothLibrariesFromOneFolder() {
    NativeLibrary.load();
    assertEquals(moe4j.MOE4J_ABI_VERSION, moe4j.moe4j_abi_version());
    File core = new File(Loader.getLoadedLibraries().get("moe4j"));
    File jni = new File(Loader.getLoadedLibraries().get("jnimoe4j"));
    assertEquals(core.getParentFile(), jni.getParentFile());
  }

  @Test
  void aFreshProcessOpensTheCpu() throws Exception {
    assertEquals("opened cpu\n", ChildJvm.open("cpu"));
  }

  @Test
  void aFreshProcessOpensTheCpuFromNamedModules() throws Exception {
    assertEquals("opened cpu\n", ChildJvm.openWithModules("cpu"));
  }

  /** Weights count, and JavaCPP's own limit is four times a heap that has none of them. */
  @Test
  void aProcessBeyondJavaCppsLimitOfMemoryWorks() throws Exception {
    String limit = "-Dorg.bytedeco.javacpp.maxPhysicalBytes=1";
    assertEquals("opened cpu\n", ChildJvm.open("cpu", limit));
  }

  @Test
  void theCpuHasTheProcessorsThatTheJvmHas() throws Exception {
    assertEquals("opened cpu\n", ChildJvm.open("cpu", "-XX:ActiveProcessorCount=1"));
  }

  @Test
  void aFolderGivenByPropertyIsUsedAlone() throws Exception {
    copy("libmoe4j.so");
    copy("libjnimoe4j.so");
    assertEquals("opened cpu\n", ChildJvm.open("cpu", pathsFirst()));
  }

  @Test
  void aMissingSiblingIsNamedWithItsArtifact() throws Exception {
    copy("libmoe4j.so");
    String output = ChildJvm.open("cpu", pathsFirst());
    assertStartsWith("NativeLibraryException: found no libjnimoe4j.so beside", output);
    assertContains(folder.toString(), output);
    assertContains("io.moe4j:moe-native:linux-x86_64", output);
  }

  @Test
  void aPlatformWithoutNativesIsNamed() throws Exception {
    String output = ChildJvm.open("cpu", "-Dorg.bytedeco.javacpp.platform=linux-riscv64");
    assertStartsWith("NativeLibraryException: found no libmoe4j.so for linux-riscv64", output);
    assertContains("io.moe4j:moe-native:linux-riscv64 on the class path", output);
  }

  @Test
  void modulesWithoutNativesAreTold() throws Exception {
    String output =
        ChildJvm.openWithModules("cpu", "-Dorg.bytedeco.javacpp.platform=linux-riscv64");
    assertContains("--add-modules io.moe4j.backend.linux.riscv64\n", output);
  }

  @Test
  void aSecondClassLoaderIsTold() throws Exception {
    NativeLibrary.load();
    List<URL> classPath = new ArrayList<>();
    for (String entry :
        Splitter.on(File.pathSeparatorChar).split(System.getProperty("java.class.path"))) {
      classPath.add(Path.of(entry).toUri().toURL());
    }
    try (URLClassLoader second =
        new URLClassLoader(classPath.toArray(new URL[0]), ClassLoader.getPlatformClassLoader())) {
      Method open = second.loadClass(MoeDevice.class.getName()).getMethod("open", String.class);
      InvocationTargetException e =
          assertThrows(InvocationTargetException.class, () -> open.invoke(null, "cpu"));
      assertContains("one class loader of the process", e.getCause().getMessage());
    }
  }

  @Test
  void anotherAbiVersionIsRefused() throws Exception {
    compile(nativeMethods() + "int moe4j_abi_version(void) { return 4711; }\n");
    copy("libjnimoe4j.so");
    String output = ChildJvm.open("cpu", pathsFirst());
    assertStartsWith("NativeLibraryException: found ABI version 4711 in file:" + folder, output);
    assertContains("expected " + moe4j.MOE4J_ABI_VERSION, output);
  }

  @Test
  void aLibraryWithoutAFunctionDoesNotLoad() throws Exception {
    compile("int moe4j_abi_version(void) { return " + moe4j.MOE4J_ABI_VERSION + "; }\n");
    copy("libjnimoe4j.so");
    String output = ChildJvm.open("cpu", pathsFirst());
    assertStartsWith("NativeLibraryException: cannot load " + folder + "/libjnimoe4j.so: ", output);
    assertContains("undefined symbol: moe4j_", output);
  }

  @Test
  void aFileThatIsNoLibraryDoesNotLoad() throws Exception {
    Files.writeString(folder.resolve("libmoe4j.so"), "not a library");
    copy("libjnimoe4j.so");
    String output = ChildJvm.open("cpu", pathsFirst());
    assertContains("NativeLibraryException: cannot load " + folder + "/libmoe4j.so: ", output);
  }

  private void copy(String file) throws IOException {
    NativeLibrary.load();
    Path natives = Path.of(Loader.getLoadedLibraries().get("moe4j")).getParent();
    Files.copy(natives.resolve(file), folder.resolve(file));
  }

  /** Makes a libmoe4j.so of C code. */
  private void compile(String code) throws IOException, InterruptedException {
    Path source = Files.writeString(folder.resolve("fake.c"), code);
    String library = folder.resolve("libmoe4j.so").toString();
    Process gcc =
        new ProcessBuilder("gcc", "-shared", "-fPIC", "-o", library, source.toString())
            .inheritIO()
            .start();
    assertEquals(0, gcc.waitFor());
  }

  /** Definitions of all functions of the C ABI but the version's, which do nothing. */
  private static String nativeMethods() {
    return Arrays.stream(moe4j.class.getMethods())
        .filter(method -> Modifier.isNative(method.getModifiers()))
        .map(Method::getName)
        .filter(name -> !name.equals("moe4j_abi_version"))
        .distinct()
        .map(name -> "void " + name + "(void) {}\n")
        .collect(Collectors.joining());
  }

  private String[] pathsFirst() {
    return new String[] {
      "-Dorg.bytedeco.javacpp.pathsFirst=true",
      "-Dorg.bytedeco.javacpp.platform.preloadpath=" + folder
    };
  }

  private static void assertStartsWith(String expected, String found) {
    assertTrue(found.startsWith(expected), () -> expected + " ... but was " + found);
  }

  private static void assertContains(String expected, String found) {
    assertTrue(found.contains(expected), () -> expected + " in " + found);
  }
}
