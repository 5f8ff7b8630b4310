package io.moe4j.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * JSON of files that nobody vouches for: UTF-8 only, no key twice, shallow, bounded names and
 * numbers. Whatever is wrong becomes a {@link CheckpointException}.
 */
final class StrictJson {
  /** Names of tensors and values of metadata may not be longer. */
  private static final int MAX_STRING = 1 << 20;

  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(64)
                  .maxNameLength(1 << 16)
                  .maxStringLength(MAX_STRING)
                  .maxNumberLength(64)
                  .build())
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .disable(StreamReadFeature.AUTO_CLOSE_SOURCE)
          // Tables of interned names are for repeated keys; a hostile file would only fill them.
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .build();

  static final JsonMapper MAPPER = new JsonMapper(FACTORY);

  private StrictJson() {}

  /** What reads a document; nothing may follow the value that it reads. */
  interface Reader<T> {
    T read(JsonParser parser) throws IOException;
  }

  /**
   * Reads one document, and leaves the stream open.
   *
   * @param what names the document in messages, e.g. "header"
   */
  static <T> T read(Path file, String what, InputStream utf8, Reader<T> reader) {
    try (JsonParser parser =
        FACTORY.createParser(
            // Jackson would guess UTF-16 and UTF-32; and it would let some malformed UTF-8 pass.
            new InputStreamReader(
                utf8,
                StandardCharsets.UTF_8
                    .newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)))) {
      T value = reader.read(parser);
      if (parser.nextToken() != null) {
        throw unexpected(file, what, parser, "nothing after the closing brace");
      }
      return value;
    } catch (CharacterCodingException e) {
      throw new CheckpointException(file, what + " is not valid UTF-8", e);
    } catch (StreamConstraintsException e) {
      String message = e.getOriginalMessage().replaceAll(", from `[^`]*`", "");
      throw new CheckpointException(file, what + " is beyond bounds: " + message, e);
    } catch (JsonProcessingException e) {
      throw new CheckpointException(
          file,
          what
              + " is not valid JSON at character "
              + (e.getLocation() == null ? "?" : e.getLocation().getCharOffset())
              + ": "
              + CheckpointException.quote(String.valueOf(e.getOriginalMessage())),
          e);
    } catch (IOException e) {
      throw new CheckpointException(file, what + " cannot be read: " + e.getMessage(), e);
    }
  }

  /** Advances to the next token, which has to be of this kind. */
  static void expect(Path file, String what, JsonParser parser, JsonToken token)
      throws IOException {
    if (parser.nextToken() != token) {
      throw unexpected(file, what, parser, token.toString());
    }
  }

  /** Reads the next token, which has to be an integer of 0 to 2^63 - 1. */
  static long nextSize(Path file, String what, JsonParser parser) throws IOException {
    expect(file, what, parser, JsonToken.VALUE_NUMBER_INT);
    if (!parser.getNumberType().equals(JsonParser.NumberType.BIG_INTEGER)
        && parser.getLongValue() >= 0) {
      return parser.getLongValue();
    }
    throw unexpected(file, what, parser, "an integer of 0 to 2^63 - 1");
  }

  static CheckpointException unexpected(Path file, String what, JsonParser parser, String expected)
      throws IOException {
    return new CheckpointException(
        file,
        what
            + ": found "
            + (parser.currentToken() == null
                ? "its end"
                : CheckpointException.quote(String.valueOf(parser.getText())))
            + ", expected "
            + expected);
  }
}
