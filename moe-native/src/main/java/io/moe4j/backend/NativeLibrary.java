package io.moe4j.backend;

import io.moe4j.NativeLibraryException;
import io.moe4j.global.moe4j;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import org.bytedeco.javacpp.ClassProperties;
import org.bytedeco.javacpp.Loader;

/**
 * Loads {@code libmoe4j.so} and the JNI library behind the bindings, once a process, and compares
 * ABI versions before anything else is called.
 *
 * <p>The folder of the first {@code libmoe4j.so} that JavaCPP finds settles where everything comes
 * from: a jar's, extracted to JavaCPP's cache, or one on disk. Its {@code linux-x86_64-gpu} folders
 * go before {@code linux-x86_64}; {@code -Dorg.bytedeco.javacpp.pathsFirst=true
 * -Dorg.bytedeco.javacpp.platform.preloadpath=DIR} goes before both. Libraries are loaded by
 * absolute path before JavaCPP would look for them class by class, so that a missing file is an
 * exception that names it, not a sibling from somewhere else.
 */
final class NativeLibrary {
  private static final String CORE = "moe4j";
  private static final String JNI = "jnimoe4j";
  private static final String CUDA = "moe4j_cuda";

  /** The shared object's own name: a binding that needs it finds it loaded. */
  private static final String CUDA_RUNTIME = "libcudart.so.13";

  private static final Class<?> PRESETS = io.moe4j.presets.moe4j.class;

  /** Where {@code libmoe4j.so} was found; null until everything is loaded and checked. */
  private static URL core;

  private static boolean cudaRuntimeLoaded;

  private NativeLibrary() {}

  /**
   * Makes the bindings usable; after the first success it does nothing.
   *
   * @throws NativeLibraryException naming what is missing or does not fit, and the remedy
   */
  static synchronized void load() {
    if (core == null) {
      URL found = find();
      load(CORE, found);
      load(JNI, sibling(found, JNI));
      checkAbi(found, moe4j.moe4j_abi_version());
      core = found;
    }
  }

  /** Also puts {@code libmoe4j_cuda.so}, where there is one, beside what was loaded. */
  static synchronized void loadWithCuda() {
    load();
    URL cuda = resolve(core, CUDA);
    if (exists(cuda)) {
      file(cuda);
    }
  }

  /**
   * Makes JavaCPP's presets of the CUDA runtime usable, which streams, events and graphs go
   * through; after the first success it does nothing. They need {@code libcudart.so.13}: the one
   * beside {@code libmoe4j_cuda.so}, or the system's where a build left none there. To be called
   * where there is a driver.
   *
   * @throws NativeLibraryException naming what is missing, and the remedy
   */
  static synchronized void loadCudaRuntime() {
    if (cudaRuntimeLoaded) {
      return;
    }
    loadWithCuda();
    URL runtime = resolve(core, CUDA_RUNTIME);
    if (exists(runtime)) {
      load(CUDA_RUNTIME, runtime);
    }
    try {
      Loader.load(org.bytedeco.cuda.global.cudart.class);
      cudaRuntimeLoaded = true;
    } catch (LinkageError e) {
      throw new NativeLibraryException(
          "cannot load the CUDA runtime's bindings: %s; expected the artifacts org.bytedeco:javacpp"
                  .formatted(e.getMessage())
              + " and org.bytedeco:cuda with the classifier %s %s, and libcudart.so.13"
                  .formatted(
                      Loader.getPlatform(), where("org.bytedeco.javacpp", "org.bytedeco.cuda"))
              + " beside libmoe4j_cuda.so or in the system's folders",
          e);
    }
  }

  /** Version of the library and of its ABI, and where it was loaded from. */
  static synchronized String version() {
    load();
    return "%s, ABI %d, from %s"
        .formatted(moe4j.moe4j_version().getString(), moe4j.moe4j_abi_version(), core);
  }

  private static URL find() {
    ClassProperties properties = Loader.loadProperties(PRESETS, Loader.loadProperties(), true);
    URL[] urls = Loader.findLibrary(PRESETS, properties, CORE);
    if (urls.length == 0) {
      throw new NativeLibraryException(
          "found no %s for %s, expected it in an artifact %s %s"
              .formatted(
                  fileName(CORE),
                  Loader.getPlatform(),
                  artifact(Loader.getPlatform()),
                  where("io.moe4j.backend")));
    }
    return urls[0];
  }

  private static URL sibling(URL found, String name) {
    URL url = resolve(found, name);
    if (!exists(url)) {
      throw new NativeLibraryException(
          "found no %s beside %s, expected all files of the artifact %s in one folder"
              .formatted(fileName(name), found, artifact(Loader.getPlatform())));
    }
    return url;
  }

  private static void load(String name, URL url) {
    File file = file(url);
    try {
      Loader.loadLibrary(PRESETS, new URL[] {file.toURI().toURL()}, name);
    } catch (UnsatisfiedLinkError e) {
      String reason = reason(e, file);
      throw new NativeLibraryException(
          "cannot load %s: %s; expected ".formatted(file, reason)
              + (reason.contains("another classloader")
                  ? "these classes in one class loader of the process, which all its applications"
                      + " share"
                  : "files of one version of the artifact %s, and a folder that allows execution"
                          .formatted(artifact(Loader.getPlatform()))
                      + " (-Dorg.bytedeco.javacpp.cachedir=DIR names another)"),
          e);
    } catch (MalformedURLException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Compares the loaded library with the header that the bindings were generated from. */
  static void checkAbi(URL found, int version) {
    if (version != moe4j.MOE4J_ABI_VERSION) {
      throw new NativeLibraryException(
          "found ABI version %d in %s, expected %d: take the artifact %s in the version of these classes"
              .formatted(version, found, moe4j.MOE4J_ABI_VERSION, artifact(Loader.getPlatform())));
    }
  }

  /** The file itself, extracted if it lies in a jar. */
  private static File file(URL url) {
    try {
      return url.getProtocol().equals("file") ? new File(url.toURI()) : Loader.cacheResource(url);
    } catch (Exception e) {
      throw new NativeLibraryException(
          "cannot extract %s: %s; -Dorg.bytedeco.javacpp.cachedir=DIR names a folder that is writable"
              .formatted(url, e),
          e);
    }
  }

  private static URL resolve(URL found, String name) {
    try {
      return new URL(found, fileName(name));
    } catch (MalformedURLException e) {
      throw new IllegalStateException(e);
    }
  }

  private static boolean exists(URL url) {
    try {
      url.openStream().close();
      return true;
    } catch (FileNotFoundException e) {
      return false;
    } catch (IOException e) {
      throw new NativeLibraryException("cannot read " + url + ": " + e, e);
    }
  }

  private static String fileName(String name) {
    return name.contains(".so") ? name : "lib" + name + ".so";
  }

  /**
   * Where artifacts with the platform's classifier have to be; modules lack its name at the end.
   */
  private static String where(String... modules) {
    String suffix = "." + Loader.getPlatform().replace('-', '.');
    return NativeLibrary.class.getModule().isNamed()
        ? "on the module path, and --add-modules " + String.join(suffix + ",", modules) + suffix
        : "on the class path";
  }

  private static String artifact(String platform) {
    return "io.moe4j:moe-native:" + platform;
  }

  /** The linker's own words, which JavaCPP wraps in those of its fallback. */
  private static String reason(Throwable e, File file) {
    Throwable root = e;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    return root.getMessage().replace(file + ": ", "");
  }
}
