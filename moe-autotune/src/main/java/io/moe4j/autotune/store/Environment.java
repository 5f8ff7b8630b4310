package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.hash.Hashing;
import io.moe4j.DeviceInfo;
import io.moe4j.MoeDevice;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;

/**
 * What decides whether a stored tactic still means what it meant: the device's model, the driver's
 * major version, the native library's binary interface and the table of its kernels. A new build of
 * the library alone changes none of them.
 *
 * @param fields name and value; a stored value may be {@link #ANY} or {@link #UNKNOWN}
 */
public record Environment(ImmutableSortedMap<String, String> fields) {
  /** A stored value that matches every environment. */
  public static final String ANY = "*";

  /** A value that could not be found out; it matches nothing but itself. */
  public static final String UNKNOWN = "unknown";

  /**
   * A field in which a stored environment differs from the one here.
   *
   * @param field its name
   * @param stored its stored value; {@link #UNKNOWN} where it is missing
   * @param here its value here
   */
  public record Mismatch(String field, String stored, String here) {

    /** Whether the stored value is known, so that it certainly belongs to somewhere else. */
    public boolean definite() {
      return !stored.equals(UNKNOWN);
    }

    @Override
    public String toString() {
      return field + " is " + stored + " there and " + here + " here";
    }
  }

  /** The environment of an opened device. */
  public static Environment of(MoeDevice device) {
    DeviceInfo info = device.info();
    return new Environment(
        ImmutableSortedMap.of(
            "device",
            info.model().isEmpty() ? UNKNOWN : info.model(),
            // CUDA counts 1000 for a major version; a CPU has no driver.
            "driver",
            info.driverVersion() == 0 ? "none" : Integer.toString(info.driverVersion() / 1000),
            "abi",
            device.libraryAbi(),
            "kernels",
            device.tacticTableHash()));
  }

  /** The environment with these fields. */
  public static Environment of(Map<String, String> fields) {
    return new Environment(ImmutableSortedMap.copyOf(fields));
  }

  /**
   * Where this stored environment differs from one here; fields that are only stored do not count.
   */
  public ImmutableList<Mismatch> mismatches(Environment here) {
    ImmutableList.Builder<Mismatch> mismatches = ImmutableList.builder();
    here.fields.forEach(
        (field, value) -> {
          String stored = fields.getOrDefault(field, UNKNOWN);
          if (!stored.equals(ANY) && !stored.equals(value)) {
            mismatches.add(new Mismatch(field, stored, value));
          }
        });
    return mismatches.build();
  }

  /** A folder name: the device, readable, and a hash of everything. */
  public String fingerprint() {
    String device =
        fields
            .getOrDefault("device", UNKNOWN)
            .toLowerCase(Locale.ROOT)
            .replaceAll("[^a-z0-9]+", "-")
            .replaceAll("^-|-$", "");
    String hash = Hashing.sha256().hashString(fields.toString(), StandardCharsets.UTF_8).toString();
    return device.substring(0, Math.min(device.length(), 40)) + "-" + hash.substring(0, 12);
  }
}
