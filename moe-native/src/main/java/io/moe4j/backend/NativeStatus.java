package io.moe4j.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.moe4j.DeviceException;
import io.moe4j.DeviceMemoryException;
import io.moe4j.DeviceUnavailableException;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeException;
import io.moe4j.UnsupportedOptionException;
import io.moe4j.global.moe4j;

/** Makes exceptions of the C ABI's status codes; the only place that does. */
final class NativeStatus {
  private NativeStatus() {}

  /** Throws what {@code status}, returned by this thread's last native call, stands for. */
  static void check(int status) {
    if (status != moe4j.MOE4J_OK) {
      throw exception(status, lastMessage());
    }
  }

  /** What this thread's last native call had to say. */
  static String lastMessage() {
    return moe4j.moe4j_last_error().getString(UTF_8);
  }

  private static MoeException exception(int status, String message) {
    return switch (status) {
      case moe4j.MOE4J_INVALID_ARGUMENT -> new InvalidArgumentException(message);
      case moe4j.MOE4J_UNSUPPORTED -> new UnsupportedOptionException(message);
      case moe4j.MOE4J_OUT_OF_MEMORY -> new DeviceMemoryException(message);
      case moe4j.MOE4J_DEVICE_UNAVAILABLE -> new DeviceUnavailableException(message);
      case moe4j.MOE4J_DEVICE_ERROR -> new DeviceException(message);
      default -> new MoeException("libmoe4j.so failed with status " + status + ": " + message);
    };
  }
}
