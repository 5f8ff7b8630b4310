package io.moe4j.tests.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.moe4j.DType;
import io.moe4j.tests.fixtures.Bytes;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.StreamSupport;

/** Reads a small safetensors file that the application wrote. */
final class SafetensorsContents {
  private final JsonNode header;
  private final byte[] data;

  SafetensorsContents(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    int headerBytes = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    header = new ObjectMapper().readTree(bytes, 8, headerBytes);
    data = Arrays.copyOfRange(bytes, 8 + headerBytes, bytes.length);
  }

  List<Long> shape(String name) {
    return StreamSupport.stream(tensor(name).get("shape").spliterator(), false)
        .map(JsonNode::asLong)
        .toList();
  }

  String dtype(String name) {
    return tensor(name).get("dtype").asText();
  }

  double[] values(String name) {
    JsonNode offsets = tensor(name).get("data_offsets");
    return Bytes.values(
        DType.valueOf(dtype(name)),
        Arrays.copyOfRange(data, offsets.get(0).asInt(), offsets.get(1).asInt()));
  }

  private JsonNode tensor(String name) {
    JsonNode tensor = header.get(name);
    if (tensor == null) {
      throw new AssertionError("no tensor " + name + " in " + header);
    }
    return tensor;
  }
}
