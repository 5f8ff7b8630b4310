package io.moe4j;

/**
 * How to open a device.
 *
 * @param threads bound on a CPU device's worker threads, callers included; 0 for all processors of
 *     the JVM ({@link Runtime#availableProcessors})
 * @param maxInstructionSet best instruction set that a CPU device may use ("portable", "avx2",
 *     ...); empty for the best there is
 */
public record DeviceOptions(int threads, String maxInstructionSet) {
  /** All processors, best instruction set. */
  public static final DeviceOptions DEFAULT = new DeviceOptions(0, "");

  /** Refuses a negative number of threads. */
  public DeviceOptions {
    Arguments.notNull("maxInstructionSet", maxInstructionSet);
    if (threads < 0) {
      throw new InvalidArgumentException("threads", threads, "at least 0");
    }
  }

  /** These options with another bound on threads. */
  public DeviceOptions withThreads(int threads) {
    return new DeviceOptions(threads, maxInstructionSet);
  }

  /** These options limited to another instruction set. */
  public DeviceOptions withMaxInstructionSet(String maxInstructionSet) {
    return new DeviceOptions(threads, maxInstructionSet);
  }
}
