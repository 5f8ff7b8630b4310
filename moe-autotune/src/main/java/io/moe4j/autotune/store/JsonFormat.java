package io.moe4j.autotune.store;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.hash.Hashing;
import io.moe4j.MoeException;
import io.moe4j.autotune.profile.TokenRange;
import io.moe4j.autotune.profile.TuningKey;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** How entries, environments and blocked tactics look in JSON. */
final class JsonFormat {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
  private static final ObjectMapper COMPACT = new ObjectMapper();
  private static final String CHECKSUM = "checksum";
  private static final String FORMAT = "format";

  private JsonFormat() {}

  /** A file's contents are not what they have to be. */
  static final class MalformedException extends Exception {
    private static final long serialVersionUID = 1L;

    MalformedException(String message) {
      super(message);
    }
  }

  /** A document of a format. */
  static ObjectNode document(String format) {
    return MAPPER.createObjectNode().put(FORMAT, format);
  }

  /** The text of a document. */
  static byte[] bytes(ObjectNode document) {
    try {
      return (MAPPER.writeValueAsString(document) + "\n").getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree always has a text", e);
    }
  }

  /** The text of a document with a checksum over everything else in it. */
  static byte[] sealedBytes(ObjectNode document) {
    return bytes(document.put(CHECKSUM, checksum(document)));
  }

  /** Reads a document of a format. */
  static ObjectNode parse(byte[] bytes, String format) throws MalformedException {
    JsonNode node;
    try {
      node = COMPACT.readTree(bytes);
    } catch (IOException e) {
      throw new MalformedException("is not JSON");
    }
    if (!(node instanceof ObjectNode document)) {
      throw new MalformedException("is not a JSON object");
    }
    String found = text(document, FORMAT);
    if (!found.equals(format)) {
      throw new MalformedException("has format " + found + ", expected " + format);
    }
    return document;
  }

  /** Reads a document of a format whose checksum has to be right. */
  static ObjectNode parseSealed(byte[] bytes, String format) throws MalformedException {
    ObjectNode document = parse(bytes, format);
    String found = text(document, CHECKSUM);
    document.remove(CHECKSUM);
    if (!found.equals(checksum(document))) {
      throw new MalformedException("does not have the contents that its checksum is of");
    }
    return document;
  }

  private static String checksum(ObjectNode document) {
    try {
      String text = COMPACT.writeValueAsString(document);
      return Hashing.sha256().hashString(text, StandardCharsets.UTF_8).toString().substring(0, 16);
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree always has a text", e);
    }
  }

  /** Adds what an entry holds besides its key. */
  static void put(ObjectNode node, TunedEntry entry) {
    node.put("serves", entry.serves().toString())
        .put("runner", entry.runner())
        .put("tactic", entry.tactic())
        .put("nanos", entry.nanos())
        .put("default_nanos", entry.defaultNanos())
        .put("noise", entry.noise())
        .put("complete", entry.complete());
  }

  /** Reads what {@link #put} added. */
  static TunedEntry entry(TuningKey key, JsonNode node) throws MalformedException {
    try {
      return new TunedEntry(
          key,
          TokenRange.parse(text(node, "serves")),
          text(node, "runner"),
          text(node, "tactic"),
          number(node, "nanos").longValue(),
          number(node, "default_nanos").longValue(),
          number(node, "noise").doubleValue(),
          node.path("complete").asBoolean(true));
    } catch (MoeException e) {
      throw new MalformedException(e.getMessage());
    }
  }

  /** Adds an environment. */
  static void put(ObjectNode node, Environment environment) {
    putAll(node.putObject("environment"), environment.fields());
  }

  /** Reads an environment; fields that are no text, or all of it, may be missing or unknown. */
  static Environment environment(JsonNode node) {
    return Environment.of(texts(node.path("environment")));
  }

  static void putAll(ObjectNode node, Map<String, String> values) {
    values.forEach(node::put);
  }

  static ImmutableSortedMap<String, String> texts(JsonNode node) {
    ImmutableSortedMap.Builder<String, String> values = ImmutableSortedMap.naturalOrder();
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (field.getValue().isValueNode() && !field.getValue().isNull()) {
        values.put(field.getKey(), field.getValue().asText());
      }
    }
    return values.buildOrThrow();
  }

  static String text(JsonNode node, String field) throws MalformedException {
    JsonNode value = node.path(field);
    if (!value.isTextual()) {
      throw new MalformedException("has no text \"" + field + '"');
    }
    return value.asText();
  }

  static JsonNode number(JsonNode node, String field) throws MalformedException {
    JsonNode value = node.path(field);
    if (!value.isNumber()) {
      throw new MalformedException("has no number \"" + field + '"');
    }
    return value;
  }
}
