package io.moe4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeException;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** What a user sees of a failure. */
class FailuresTest {

  @Command(name = "fail")
  private static final class FailCommand implements Callable<Integer> {
    private final Throwable failure;

    FailCommand(Throwable failure) {
      this.failure = failure;
    }

    @Override
    public Integer call() throws Exception {
      if (failure instanceof Error error) {
        throw error;
      }
      throw (Exception) failure;
    }
  }

  private static Cli fail(Throwable failure, String... arguments) {
    CommandLine application = Main.commandLine();
    application.addSubcommand(new FailCommand(failure));
    return Cli.run(application, (Object[]) arguments);
  }

  private static void assertSentence(String expected, Throwable failure) {
    Cli cli = fail(failure, "fail");
    assertEquals(1, cli.status());
    assertEquals("", cli.out());
    assertEquals("moe4j fail: " + expected, cli.error());
  }

  @Test
  void aLibrarysExceptionIsItsMessage() {
    assertSentence(
        "topk_ids: found 9, expected less", new MoeException("topk_ids: found 9, expected less"));
  }

  @Test
  void aMessageOfSeveralLinesIsOneLine() {
    assertSentence("this is one", new MoeException("this\n  is\r\none\n"));
  }

  @Test
  void filesAreNamed() {
    assertSentence("a/b: no such file or directory", new NoSuchFileException("a/b"));
    assertSentence("a/b: permission denied", new AccessDeniedException("a/b"));
  }

  @Test
  void memoryThatRunsOutIsAFailureLikeAnyOther() {
    assertSentence(
        "out of memory: Java heap space (java -Xmx gives more)",
        new OutOfMemoryError("Java heap space"));
  }

  @Test
  void aDefectSaysHowToFindIt() {
    assertSentence(
        "internal error: java.lang.NullPointerException (--debug prints where)",
        new NullPointerException());
    assertSentence(
        "internal error: java.lang.StackOverflowError (--debug prints where)",
        new StackOverflowError());
  }

  @Test
  void debugPrintsWhere() {
    for (String[] arguments : new String[][] {{"--debug", "fail"}, {"fail", "--debug"}}) {
      Cli cli = fail(new MoeException("no"), arguments);
      assertEquals(1, cli.status());
      assertTrue(cli.err().startsWith("moe4j fail: no" + System.lineSeparator()), cli.err());
      assertTrue(cli.err().contains("at io.moe4j.cli.FailuresTest"), cli.err());
    }
  }
}
