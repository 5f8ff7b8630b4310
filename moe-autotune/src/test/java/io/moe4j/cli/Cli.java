package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import picocli.CommandLine;

/**
 * The application run inside the test's process.
 *
 * @param status exit status
 * @param out standard output
 * @param err standard error
 */
record Cli(int status, String out, String err) {

  /** Runs the application with these arguments. */
  static Cli run(Object... arguments) {
    return run(Main.commandLine(), arguments);
  }

  static Cli run(CommandLine commandLine, Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] args = new String[arguments.length];
    for (int i = 0; i < args.length; i++) {
      args[i] = arguments[i].toString();
    }
    commandLine.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
    return new Cli(commandLine.execute(args), out.toString(), err.toString());
  }

  /** Standard output as one JSON document. */
  JsonNode json() throws JsonProcessingException {
    return JsonMapper.builder()
        .enable(com.fasterxml.jackson.databind.DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
        .build()
        .readTree(out);
  }

  /** The one line that a failure is. */
  String error() {
    assertEquals(1, err.lines().count(), err);
    return err.strip();
  }
}
