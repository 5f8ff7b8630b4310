package io.moe4j.spi;

import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;

/** A back end, found by {@link java.util.ServiceLoader}. Creating one loads nothing. */
public interface BackendProvider {

  /** The kind of devices that it opens. */
  DeviceKind kind();

  /** How many devices there are; 0 rather than an exception where nothing of the kind is. */
  int deviceCount();

  /** Why {@link #deviceCount} is 0, in one sentence; empty otherwise. */
  String unavailableReason();

  /**
   * Version of the back end's library and where it comes from, for reports; empty where there is no
   * library of its own.
   *
   * @throws io.moe4j.NativeLibraryException when the library is missing or does not fit
   */
  default String libraryVersion() {
    return "";
  }

  /** Opens a device; the index is below the count. */
  BackendDevice open(int index, DeviceOptions options);
}
