package io.moe4j.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * A checkpoint's {@code config.json}, and what it or {@code hf_quant_config.json} says about
 * quantization. A field that is null counts as absent; a field of another type is refused, never
 * converted.
 */
public final class CheckpointConfig {
  private static final String CONFIG = "config.json";
  private static final String MODELOPT_CONFIG = "hf_quant_config.json";
  private static final long MAX_BYTES = 16L << 20;

  private final Path path;
  private final JsonNode root;
  private final Optional<Quantization> quantization;

  /**
   * How a checkpoint declares its quantization.
   *
   * @param source the file that says so
   * @param method {@code quant_method}, e.g. "mxfp4", "modelopt" or "compressed-tensors"
   * @param formats what the method calls its formats: ModelOpt's {@code quant_algo},
   *     compressed-tensors' format of the whole and of its groups; empty where unsaid
   */
  public record Quantization(Path source, String method, Set<String> formats) {}

  private CheckpointConfig(Path path, JsonNode root, Optional<Quantization> quantization) {
    this.path = path;
    this.root = root;
    this.quantization = quantization;
  }

  /**
   * Reads the configuration of a checkpoint's folder.
   *
   * @throws CheckpointException when there is none, or it is not a JSON object
   */
  public static CheckpointConfig read(Path folder) {
    Path path = folder.resolve(CONFIG);
    JsonNode root = readObject(path);
    JsonNode declared = root.path("quantization_config");
    if (declared.isObject()) {
      return new CheckpointConfig(path, root, Optional.of(quantization(path, declared)));
    }
    if (!declared.isMissingNode() && !declared.isNull()) {
      throw wrong(path, "quantization_config", declared, "an object");
    }
    Path modelOpt = folder.resolve(MODELOPT_CONFIG);
    if (!Files.exists(modelOpt)) {
      return new CheckpointConfig(path, root, Optional.empty());
    }
    Set<String> formats = new TreeSet<>();
    addText(modelOpt, readObject(modelOpt).path("quantization"), "quant_algo", formats);
    return new CheckpointConfig(
        path, root, Optional.of(new Quantization(modelOpt, "modelopt", formats)));
  }

  private static JsonNode readObject(Path path) {
    if (!Files.isRegularFile(path)) {
      throw new CheckpointException(path, "no such file");
    }
    try (InputStream json = Files.newInputStream(path)) {
      if (Files.size(path) > MAX_BYTES) {
        throw new CheckpointException(
            path, "found " + Files.size(path) + " bytes, expected at most " + MAX_BYTES);
      }
      JsonNode root =
          StrictJson.read(
              path, "configuration", json, parser -> StrictJson.MAPPER.readTree(parser));
      if (root == null || !root.isObject()) {
        throw new CheckpointException(path, "found no JSON object");
      }
      return root;
    } catch (IOException e) {
      throw new CheckpointException(path, "cannot be read: " + e, e);
    }
  }

  private static Quantization quantization(Path path, JsonNode declared) {
    Set<String> formats = new TreeSet<>();
    addText(path, declared, "quant_algo", formats);
    addText(path, declared, "format", formats);
    for (JsonNode group : declared.path("config_groups")) {
      addText(path, group, "format", formats);
    }
    Set<String> method = new TreeSet<>();
    addText(path, declared, "quant_method", method);
    return new Quantization(path, method.isEmpty() ? "" : method.iterator().next(), formats);
  }

  private static void addText(Path path, JsonNode object, String field, Set<String> texts) {
    JsonNode value = object.path(field);
    if (value.isTextual()) {
      texts.add(value.textValue());
    } else if (!value.isMissingNode() && !value.isNull()) {
      throw wrong(path, field, value, "a string");
    }
  }

  /** The file. */
  public Path path() {
    return path;
  }

  /** {@code model_type}, "" where there is none. */
  public String modelType() {
    return text("model_type").orElse("");
  }

  /** What is declared about quantization. */
  public Optional<Quantization> quantization() {
    return quantization;
  }

  /** A text. */
  Optional<String> text(String field) {
    JsonNode value = value(field);
    if (value.isMissingNode()) {
      return Optional.empty();
    }
    if (!value.isTextual()) {
      throw wrong(path, field, value, "a string");
    }
    return Optional.of(value.textValue());
  }

  boolean has(String field) {
    return !value(field).isMissingNode();
  }

  /** A count that has to be there, under the first of these names that is. */
  int count(String... fields) {
    for (String field : fields) {
      if (has(field)) {
        return count(field, 0);
      }
    }
    throw new CheckpointException(path, "has no " + String.join(" or ", fields));
  }

  /** A count of 0 to 2^31 - 1. */
  int count(String field, int absent) {
    JsonNode value = value(field);
    if (value.isMissingNode()) {
      return absent;
    }
    if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 0) {
      throw wrong(path, field, value, "an integer of 0 to 2^31 - 1");
    }
    return value.intValue();
  }

  /** A finite number that has to be there. */
  float number(String field) {
    if (!has(field)) {
      throw new CheckpointException(path, "has no " + field);
    }
    return number(field, 0f);
  }

  /** A finite number. */
  float number(String field, float absent) {
    JsonNode value = value(field);
    if (value.isMissingNode()) {
      return absent;
    }
    if (!value.isNumber() || !Float.isFinite(value.floatValue())) {
      throw wrong(path, field, value, "a finite number");
    }
    return value.floatValue();
  }

  /** A truth value that has to be there. */
  boolean flag(String field) {
    if (!has(field)) {
      throw new CheckpointException(path, "has no " + field);
    }
    return flag(field, false);
  }

  /** A truth value. */
  boolean flag(String field, boolean absent) {
    JsonNode value = value(field);
    if (value.isMissingNode()) {
      return absent;
    }
    if (!value.isBoolean()) {
      throw wrong(path, field, value, "true or false");
    }
    return value.booleanValue();
  }

  /** Refuses a text other than this; absent is fine. */
  void expectText(String field, String expected) {
    if (has(field) && !text(field).orElseThrow().equals(expected)) {
      throw wrong(path, field, value(field), '"' + expected + '"');
    }
  }

  /** "{field}: found ..., expected ...". */
  CheckpointException wrong(String field, String expected) {
    return wrong(path, field, value(field), expected);
  }

  private JsonNode value(String field) {
    JsonNode value = root.path(field);
    return value.isNull() ? MissingNode.getInstance() : value;
  }

  private static CheckpointException wrong(
      Path path, String field, JsonNode found, String expected) {
    return new CheckpointException(
        path,
        field
            + ": found "
            + CheckpointException.quote(found.isTextual() ? found.textValue() : found.toString())
            + ", expected "
            + expected);
  }
}
