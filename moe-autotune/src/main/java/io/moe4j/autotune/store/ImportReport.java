package io.moe4j.autotune.store;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Maps;
import io.moe4j.DeviceInfo;
import io.moe4j.MoeDevice;
import io.moe4j.autotune.profile.TuningFamily;
import io.moe4j.autotune.profile.TuningKey;
import io.moe4j.autotune.store.Environment.Mismatch;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * What of a plan applies to a device, and why the rest does not.
 *
 * @param applied tunings that apply, with keys of this device where the plan's were {@link
 *     Environment#ANY}
 * @param rejected tunings that do not
 */
public record ImportReport(ImmutableList<TunedEntry> applied, ImmutableList<Rejection> rejected) {

  /**
   * A tuning that does not apply.
   *
   * @param key which
   * @param reason what stands in the way
   */
  public record Rejection(TuningKey key, String reason) {}

  /** Checks a plan against an opened device. */
  public static ImportReport of(Plan plan, MoeDevice device) {
    ImmutableList<Mismatch> mismatches = plan.environment().mismatches(Environment.of(device));
    boolean anyDevice =
        plan.environment().fields().getOrDefault("device", "").equals(Environment.ANY);
    ImmutableList.Builder<TunedEntry> applied = ImmutableList.builder();
    ImmutableList.Builder<Rejection> rejected = ImmutableList.builder();
    plan.entries()
        .forEach(
            (key, entry) -> {
              TuningFamily stored =
                  anyDevice ? key.family().with("device", Environment.ANY) : key.family();
              TuningFamily here = translated(stored, device.info());
              Optional<Mismatch> mismatch =
                  Stream.concat(mismatches.stream(), differences(stored, here)).findFirst();
              if (mismatch.isPresent()) {
                rejected.add(new Rejection(key, mismatch.get().toString()));
              } else {
                applied.add(entry.withKey(new TuningKey(here, key.tokens())));
              }
            });
    return new ImportReport(applied.build(), rejected.build());
  }

  /** What a family would be called on a device. */
  private static TuningFamily translated(TuningFamily stored, DeviceInfo device) {
    return TuningFamily.builder(stored.operation(), device)
        .putAll(
            Maps.filterKeys(
                stored.attributes(), name -> !TuningFamily.DEVICE_ATTRIBUTES.contains(name)))
        .build();
  }

  /** A device of the right model may be opened in a way that no key here can be equal to. */
  private static Stream<Mismatch> differences(TuningFamily stored, TuningFamily here) {
    return TuningFamily.DEVICE_ATTRIBUTES.stream()
        .map(
            name ->
                new Mismatch(
                    name,
                    stored.attributes().getOrDefault(name, Environment.UNKNOWN),
                    here.attributes().get(name)))
        .filter(
            difference ->
                !difference.stored().equals(Environment.ANY)
                    && !difference.stored().equals(difference.here()));
  }
}
