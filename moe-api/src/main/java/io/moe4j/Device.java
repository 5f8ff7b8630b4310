package io.moe4j;

/**
 * Names a device. An opened one is a {@link MoeDevice}.
 *
 * @param kind what sort of device
 * @param index ordinal among the devices of its kind, from 0
 */
public record Device(DeviceKind kind, int index) {
  /** The processor. */
  public static final Device CPU = new Device(DeviceKind.CPU, 0);

  /** Refuses a negative ordinal, and CPUs other than the first. */
  public Device {
    Arguments.notNull("kind", kind);
    if (index < 0 || (kind == DeviceKind.CPU && index != 0)) {
      throw new InvalidArgumentException("index", index, "an ordinal from 0; 0 for the CPU");
    }
  }

  /** The CUDA device with this ordinal. */
  public static Device cuda(int index) {
    return new Device(DeviceKind.CUDA, index);
  }

  /** Reads "cpu" or "cuda:N" ("cuda" alone is "cuda:0"). */
  public static Device parse(String text) {
    if (Arguments.notNull("device", text).equals("cpu")) {
      return CPU;
    }
    if (text.equals("cuda")) {
      return cuda(0);
    }
    if (text.matches("cuda:[0-9]{1,4}")) {
      return cuda(Integer.parseInt(text.substring("cuda:".length())));
    }
    throw new InvalidArgumentException("device", '"' + text + '"', "\"cpu\" or \"cuda:N\"");
  }

  /** The text that {@link #parse} reads. */
  @Override
  public String toString() {
    return kind == DeviceKind.CPU ? "cpu" : "cuda:" + index;
  }
}
