package io.moe4j.autotune.profile;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.ImmutableSortedMap;
import io.moe4j.DeviceInfo;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeLayer;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSkew;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Everything that changes which tactic is best, but for the number of tokens. Made in this one
 * place, so that caches, plans, logs and launches cannot disagree about what a key holds.
 *
 * @param operation what is run, e.g. {@link #FUSED_MOE}
 * @param attributes name and value of all that matters, sorted by name
 */
public record TuningFamily(String operation, ImmutableSortedMap<String, String> attributes)
    implements Comparable<TuningFamily> {

  /** The operation of a {@link MoeLayer}. */
  public static final String FUSED_MOE = "fused_moe";

  /** Attribute that names the routing's distribution. */
  private static final String SKEW = "skew";

  /** Attributes that say how the device was opened. */
  public static final ImmutableSet<String> DEVICE_ATTRIBUTES =
      ImmutableSet.of("backend", "device", "isa", "units");

  /** The family of a layer's calls of one kind. */
  public static TuningFamily of(MoeLayer layer, CallKind kind) {
    MoeSpec spec = layer.spec();
    // A rank's offset is left out on purpose: ranks that hold equally many experts share a plan.
    return builder(FUSED_MOE, layer.device().info())
        .put("weights", name(spec.weightFormat()))
        .put("activations", name(spec.activationFormat()))
        .put("activation", name(spec.activation()))
        .put("hidden", spec.hiddenSize())
        .put("intermediate", spec.intermediateSize())
        .put("experts", spec.numExperts())
        .put("local_experts", spec.expertParallel().localNumExperts())
        .put("shared_experts", spec.numFusedSharedExperts())
        .put("topk", spec.topK())
        .put("bias", layer.hasBias())
        .put("routing", name(kind.routing()))
        .put(
            "method",
            kind.routing() == RoutingMode.FROM_LOGITS ? name(spec.routing().method()) : "none")
        .put("input", name(kind.hiddenStates()))
        .put("finalize", kind.finalized())
        .put("lora", kind.gemm1LoraDelta())
        .put("token_scale", kind.perTokenScale())
        .put(SKEW, name(kind.skew()))
        .build();
  }

  /** Starts the family of an operation on a device. */
  public static Builder builder(String operation, DeviceInfo device) {
    return new Builder(operation)
        .put("device", device.model())
        .put("units", device.computeUnits())
        .put("isa", device.instructionSets())
        .put("backend", name(device.device().kind()));
  }

  private static String name(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  /** This family with another value of one attribute. */
  public TuningFamily with(String attribute, Object value) {
    return new Builder(operation).putAll(attributes).put(attribute, value).build();
  }

  /** This family for routing of another distribution; itself where the operation has no routing. */
  public TuningFamily withSkew(RoutingSkew skew) {
    return attributes.containsKey(SKEW) ? with(SKEW, name(skew)) : this;
  }

  /** Reads the {@link #toString text}. */
  public static TuningFamily parse(String text) {
    int open = text.indexOf('[');
    if (open < 1 || !text.endsWith("]")) {
      throw new InvalidArgumentException(
          "family", '"' + text + '"', "\"operation[name=value,...]\"");
    }
    Builder builder = new Builder(decode(text.substring(0, open)));
    for (String pair :
        Splitter.on(',').omitEmptyStrings().split(text.substring(open + 1, text.length() - 1))) {
      int equals = pair.indexOf('=');
      if (equals < 1) {
        throw new InvalidArgumentException("family", '"' + pair + '"', "\"name=value\"");
      }
      builder.put(decode(pair.substring(0, equals)), decode(pair.substring(equals + 1)));
    }
    return builder.build();
  }

  /** The canonical form: equal families have equal texts, on every machine. */
  @Override
  public String toString() {
    return attributes.entrySet().stream()
        .map(entry -> encode(entry.getKey()) + "=" + encode(entry.getValue()))
        .collect(Collectors.joining(",", encode(operation) + "[", "]"));
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }

  private static String decode(String text) {
    try {
      return URLDecoder.decode(text, StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      throw new InvalidArgumentException("family", '"' + text + '"', "percent-encoded text", e);
    }
  }

  @Override
  public int compareTo(TuningFamily other) {
    return toString().compareTo(other.toString());
  }

  /** Collects the attributes of a family. Not thread safe. */
  public static final class Builder {
    private final String operation;
    private final TreeMap<String, String> attributes = new TreeMap<>();

    private Builder(String operation) {
      this.operation = operation;
    }

    /** Adds or replaces an attribute. */
    public Builder put(String name, Object value) {
      attributes.put(name, value.toString());
      return this;
    }

    /** Adds or replaces attributes. */
    public Builder putAll(Map<String, String> more) {
      attributes.putAll(more);
      return this;
    }

    /** The family. */
    public TuningFamily build() {
      return new TuningFamily(operation, ImmutableSortedMap.copyOf(attributes));
    }
  }
}
