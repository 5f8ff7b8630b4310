package io.moe4j.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.google.common.primitives.ImmutableLongArray;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The JSON header of a safetensors file, every number of it checked against the file: types and
 * shapes against byte counts, and the ranges against each other. They have to cover the data
 * exactly: no overlap, no hole, nothing after the last.
 *
 * @param metadata the free-form strings of {@code __metadata__}
 * @param tensors by name, in the header's order
 */
record SafetensorsHeader(Map<String, String> metadata, Map<String, Entry> tensors) {

  /** The format's own bound on headers. */
  static final long MAX_BYTES = 100_000_000;

  static final String METADATA = "__metadata__";

  /** One tensor; begin and end count bytes from the start of the data. */
  record Entry(
      String name, SafetensorsDType dtype, ImmutableLongArray shape, long begin, long end) {}

  /** Parses and checks a header that is followed by {@code dataBytes} bytes. */
  static SafetensorsHeader parse(Path file, InputStream json, long dataBytes) {
    SafetensorsHeader header =
        StrictJson.read(file, "header", json, parser -> readObject(file, parser));
    checkCoverage(file, header.tensors, dataBytes);
    return header;
  }

  private static SafetensorsHeader readObject(Path file, JsonParser parser) throws IOException {
    Map<String, String> metadata = new LinkedHashMap<>();
    Map<String, Entry> tensors = new LinkedHashMap<>();
    StrictJson.expect(file, "header", parser, JsonToken.START_OBJECT);
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      if (name.equals(METADATA)) {
        readMetadata(file, parser, metadata);
      } else {
        tensors.put(name, readTensor(file, parser, name));
      }
    }
    return new SafetensorsHeader(metadata, tensors);
  }

  private static void readMetadata(Path file, JsonParser parser, Map<String, String> metadata)
      throws IOException {
    StrictJson.expect(file, METADATA, parser, JsonToken.START_OBJECT);
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      StrictJson.expect(file, METADATA, parser, JsonToken.VALUE_STRING);
      metadata.put(key, parser.getText());
    }
  }

  private static Entry readTensor(Path file, JsonParser parser, String name) throws IOException {
    String what = "tensor " + CheckpointException.quote(name);
    SafetensorsDType dtype = null;
    ImmutableLongArray shape = null;
    long begin = -1;
    long end = -1;
    StrictJson.expect(file, what, parser, JsonToken.START_OBJECT);
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      switch (parser.currentName()) {
        case "dtype" -> dtype = readDType(file, what, parser);
        case "shape" -> shape = readShape(file, what + ": shape", parser);
        case "data_offsets" -> {
          String field = what + ": data_offsets";
          StrictJson.expect(file, field, parser, JsonToken.START_ARRAY);
          begin = StrictJson.nextSize(file, field, parser);
          end = StrictJson.nextSize(file, field, parser);
          StrictJson.expect(file, field, parser, JsonToken.END_ARRAY);
        }
        default -> {
          parser.nextToken();
          parser.skipChildren();
        }
      }
    }
    if (dtype == null || shape == null || end < 0) {
      throw new CheckpointException(
          file,
          what + " has no " + (dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets"));
    }
    checkSize(file, what, dtype, shape, begin, end);
    return new Entry(name, dtype, shape, begin, end);
  }

  private static SafetensorsDType readDType(Path file, String what, JsonParser parser)
      throws IOException {
    StrictJson.expect(file, what + ": dtype", parser, JsonToken.VALUE_STRING);
    String text = parser.getText();
    return SafetensorsDType.parse(text)
        .orElseThrow(
            () ->
                new CheckpointException(
                    file,
                    what
                        + ": dtype: found "
                        + CheckpointException.quote(text)
                        + ", expected a type of the safetensors format, e.g. BF16"));
  }

  private static ImmutableLongArray readShape(Path file, String what, JsonParser parser)
      throws IOException {
    ImmutableLongArray.Builder shape = ImmutableLongArray.builder();
    StrictJson.expect(file, what, parser, JsonToken.START_ARRAY);
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT
          || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER
          || parser.getLongValue() < 0) {
        throw StrictJson.unexpected(file, what, parser, "integers of 0 to 2^63 - 1");
      }
      shape.add(parser.getLongValue());
    }
    return shape.build();
  }

  private static void checkSize(
      Path file,
      String what,
      SafetensorsDType dtype,
      ImmutableLongArray shape,
      long begin,
      long end) {
    long bits = dtype.bits();
    try {
      for (int i = 0; i < shape.length(); i++) {
        bits = Math.multiplyExact(bits, shape.get(i));
      }
    } catch (ArithmeticException e) {
      throw new CheckpointException(
          file, what + ": shape: found " + shape + ", expected fewer than 2^60 bytes", e);
    }
    if (bits % 8 != 0 || begin > end || end - begin != bits / 8) {
      throw new CheckpointException(
          file,
          what
              + ": data_offsets: found ["
              + begin
              + ", "
              + end
              + "], expected "
              + bits
              + " bits of "
              + dtype
              + " "
              + shape);
    }
  }

  private static void checkCoverage(Path file, Map<String, Entry> tensors, long dataBytes) {
    List<Entry> ordered = new ArrayList<>(tensors.values());
    ordered.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    long covered = 0;
    for (Entry entry : ordered) {
      if (entry.begin != covered) {
        throw CheckpointException.ofTensor(
            file,
            entry.name,
            "data_offsets: found "
                + (entry.begin < covered ? "an overlap with another tensor" : "a hole before it")
                + " ["
                + entry.begin
                + ", "
                + entry.end
                + "], expected to begin at "
                + covered);
      }
      if (entry.end > dataBytes) {
        throw CheckpointException.ofTensor(
            file,
            entry.name,
            "data_offsets: found end "
                + entry.end
                + ", expected at most the file's "
                + dataBytes
                + " bytes of data (is it truncated?)");
      }
      covered = entry.end;
    }
    if (covered != dataBytes) {
      throw new CheckpointException(
          file, "data: found " + dataBytes + " bytes, expected the tensors' " + covered);
    }
  }
}
