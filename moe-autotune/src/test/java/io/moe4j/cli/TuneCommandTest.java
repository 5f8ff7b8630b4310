package io.moe4j.cli;

import static io.moe4j.checkpoint.SafetensorsDType.BF16;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.moe4j.MoeCall;
import io.moe4j.MoeOutput;
import io.moe4j.Tactic;
import io.moe4j.testing.SyntheticModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code tune}, {@code plan} and {@code cache} around a device whose tactic "fake.t64" takes a
 * third of the default's time.
 */
class TuneCommandTest {
  private static final int LAYER = 3;

  @TempDir Path folder;

  private final AtomicInteger launches = new AtomicInteger();
  private Path checkpoint;
  private Path cache;

  @BeforeEach
  void prepare() throws IOException {
    checkpoint = Files.createDirectory(folder.resolve("checkpoint"));
    new SyntheticModel(1).deepSeek(LAYER).write(checkpoint, SyntheticModel.DEEPSEEK_CONFIG);
    cache = folder.resolve("cache");
    CliDevices.onOpen(device -> device.onLaunch(this::launch));
  }

  private void launch(MoeCall call, Tactic tactic) {
    launches.incrementAndGet();
    ByteBuffer output = ((MoeOutput.Finalized) call.output()).output().buffer();
    for (int i = 0; i < output.limit(); i += 2) {
      output.putShort(i, Bf16.fromFloat(1));
    }
    CliDevices.advanceClock(tactic.name().equals("fake.t64") ? 100_000 : 300_000);
  }

  @AfterEach
  void forget() {
    CliDevices.onOpen(device -> {});
  }

  private Cli tune(Object... more) {
    Object[] arguments = {
      "tune", "--checkpoint", checkpoint, "--layer", LAYER, "--device", "cpu", "--cache", cache
    };
    List<Object> all = new ArrayList<>(Arrays.asList(arguments));
    all.addAll(Arrays.asList(more));
    return Cli.run(all.toArray());
  }

  private static JsonNode bucket(JsonNode report, int part, int bucket) {
    return report.get("parts").get(part).get("buckets").get(bucket);
  }

  // ---- tune

  @Test
  void findsTheFasterTacticAndKeepsIt() throws Exception {
    Cli first = tune("--tokens", "1,4", "--json");
    assertEquals(0, first.status(), first.err());
    assertEquals("", first.err());
    JsonNode report = first.json();
    assertTrue(report.get("succeeded").booleanValue());
    assertEquals("routed", report.get("parts").get(0).get("experts").textValue());
    assertEquals("from_logits", report.get("parts").get(0).get("routing").textValue());
    assertEquals("shared", report.get("parts").get(1).get("experts").textValue());
    for (int part = 0; part < 2; part++) {
      JsonNode bucket = bucket(report, part, 1);
      assertEquals(4, bucket.get("tokens").intValue());
      assertEquals("fake.t64", bucket.get("tactic").textValue());
      assertEquals("tuned", bucket.get("status").textValue());
      assertEquals(1e5, bucket.get("nanos").doubleValue());
      assertEquals(3.0, bucket.get("speedup").doubleValue());
      assertEquals(2, bucket.get("tactics").size());
    }
    assertNotEquals(0, report.get("launches").intValue());

    launches.set(0);
    Cli second = tune("--tokens", "1,4", "--json");
    assertEquals(0, second.status(), second.err());
    assertEquals(0, launches.get());
    assertEquals("tuned before", bucket(second.json(), 0, 0).get("status").textValue());
    assertEquals("fake.t64", bucket(second.json(), 0, 0).get("tactic").textValue());

    runUsesIt();
  }

  private void runUsesIt() throws Exception {
    Path input =
        new TensorFile()
            .add("hidden_states", BF16, 3, SyntheticModel.H, 1)
            .write(folder.resolve("in.safetensors"));
    Cli cli =
        Cli.run(
            "run",
            "--checkpoint",
            checkpoint,
            "--layer",
            LAYER,
            "--input",
            input,
            "--output",
            folder.resolve("out.safetensors"),
            "--device",
            "cpu",
            "--cache",
            cache,
            "--json");
    assertEquals(0, cli.status(), cli.err());
    assertEquals("fake.t64", cli.json().get("tactic").textValue());
    assertEquals("cached", cli.json().get("tacticSource").textValue());
  }

  @Test
  void showsProgressAsLinesWhereThereIsNoTerminal() {
    Cli cli = tune("--tokens", "2", "--routing", "from_logits,packed");
    assertEquals(0, cli.status(), cli.err());
    List<String> lines = cli.err().lines().toList();
    assertEquals("preparing layer 3 on cpu", lines.get(0));
    assertEquals("tuning routed experts, from_logits", lines.get(1));
    assertTrue(
        lines.get(2).matches("  2 tokens: fake.t64, .* us, [0-9.]+x the default"), cli.err());
    assertEquals("tuning routed experts, packed", lines.get(3));
    assertFalse(cli.err().contains("\r"));
    assertTrue(
        cli.out().contains("shared experts, unpacked: H = 64, I = 64, 1 experts"), cli.out());
    assertTrue(cli.out().contains("kept in " + cache), cli.out());
  }

  @Test
  void aCacheThatIsNoFolderKeepsNothingAndIsToldOnce() throws Exception {
    Files.writeString(cache, "a file, not a folder");
    Cli cli = tune("--tokens", "1");
    assertEquals(1, cli.status(), cli.out());
    assertTrue(cli.out().contains("cannot be read"), cli.out());
    assertEquals(1, cli.out().lines().filter(line -> line.startsWith("problem")).count());
    assertFalse(cli.out().contains("kept in"), cli.out());

    Path plan = folder.resolve("plan.json");
    Cli planned = tune("--tokens", "1", "--plan", plan, "--json");
    assertEquals(0, planned.status(), planned.err());
    assertFalse(planned.json().has("cache"), planned.out());
  }

  @Test
  void anEndedBudgetIsAFailureThatSaysSo() throws Exception {
    Cli cli = tune("--tokens", "1", "--budget", "0s", "--json");
    assertEquals(1, cli.status());
    JsonNode bucket = bucket(cli.json(), 0, 0);
    assertEquals("skipped", bucket.get("status").textValue());
    assertEquals("the time budget is spent", bucket.get("detail").textValue());
    assertFalse(bucket.has("tactic"));
  }

  @Test
  void writesAPageThatNeedsNothingElse() throws Exception {
    Path page = folder.resolve("report.html");
    Cli cli = tune("--tokens", "1,2", "--report", page);
    assertEquals(0, cli.status(), cli.err());
    assertTrue(cli.out().contains("report written to " + page), cli.out());
    String html = Files.readString(page);
    assertTrue(html.contains("fake.t64, 2 tokens: "), html);
    assertTrue(html.contains("Routed experts, routing from_logits"), html);
  }

  @Test
  void refusesFoldersThatAreNotThereBeforeTheWork() {
    Path page = folder.resolve("missing").resolve("report.html");
    Cli cli = tune("--report", page);
    assertEquals(1, cli.status());
    assertEquals("moe4j tune: " + page.getParent() + ": no such folder for --report", cli.error());
    assertEquals(0, launches.get());
  }

  @Test
  void refusesWhatIsNoListOfTokensOrNoTime() {
    assertRefused("--tokens", "1,20000000", "at most 16777216");
    assertRefused("--tokens", "1,two", "found \"1,two\", expected \"pow2:MAX\"");
    assertRefused("--tokens", "0", "found 0, expected token counts of at least 1");
    assertRefused("--budget", "soon", "found \"soon\", expected seconds, minutes or hours");
    assertRefused("--max-tokens", "0", "found 0, expected 1 to 16777216");
    Cli both = tune("--tokens", "1", "--max-tokens", "8");
    assertEquals(2, both.status());
    assertTrue(both.error().contains("are mutually exclusive"), both.err());
  }

  private void assertRefused(String option, String value, String sentence) {
    Cli cli = tune(option, value);
    assertEquals(2, cli.status());
    assertTrue(cli.error().contains(option), cli.err());
    assertTrue(cli.error().contains(sentence), cli.err());
  }

  // ---- plan and cache

  @Test
  void plansGoFromOneCacheToAnother() throws Exception {
    Path plan = folder.resolve("plan.json");
    Path exported = folder.resolve("exported.json");
    assertEquals(0, tune("--tokens", "1,4", "--plan", plan).status());
    Cli show = Cli.run("plan", "show", plan);
    assertEquals(0, show.status(), show.err());
    assertTrue(show.out().contains("fake.t64"), show.out());
    assertTrue(Cli.run("plan", "show", plan, "--json").json().get("families").size() > 0);

    Cli export = Cli.run("plan", "export", exported, "--device", "cpu", "--cache", cache);
    assertEquals(0, export.status(), export.err());

    Path other = folder.resolve("other");
    Cli imported = Cli.run("plan", "import", plan, "--device", "cpu", "--cache", other, "--json");
    assertEquals(0, imported.status(), imported.err());
    assertTrue(imported.json().get("applied").intValue() >= 4, imported.out());
    assertEquals(0, imported.json().get("rejected").size());
    cache = other;
    launches.set(0);
    assertEquals(0, tune("--tokens", "1,4").status());
    assertEquals(0, launches.get());
  }

  @Test
  void aPlanOfAnotherMachineIsRefusedWithTheReason() throws Exception {
    Path plan = folder.resolve("plan.json");
    assertEquals(0, tune("--tokens", "1", "--plan", plan).status());
    Files.writeString(
        plan, Files.readString(plan).replace("\"kernels\" : \"fake\"", "\"kernels\" : \"older\""));
    Cli cli = Cli.run("plan", "import", plan, "--device", "cpu", "--cache", folder.resolve("b"));
    assertEquals(1, cli.status());
    assertTrue(cli.out().contains("took 0 tunings over"), cli.out());
    assertTrue(cli.out().contains("kernels is older there and fake here"), cli.out());
  }

  @Test
  void plansAreMergedAndCompared() throws Exception {
    Path one = folder.resolve("one.json");
    Path two = folder.resolve("two.json");
    Path merged = folder.resolve("merged.json");
    assertEquals(0, tune("--tokens", "1", "--plan", one).status());
    cache = folder.resolve("second");
    assertEquals(0, tune("--tokens", "4", "--plan", two).status());

    Cli merge = Cli.run("plan", "merge", one, two, "--output", merged, "--json");
    assertEquals(0, merge.status(), merge.err());
    assertEquals(0, merge.json().get("conflicts").size());

    Cli same = Cli.run("plan", "diff", one, one);
    assertEquals(0, same.status());
    assertEquals("", same.out());
    Cli diff = Cli.run("plan", "diff", one, merged, "--json");
    assertEquals(1, diff.status());
    assertEquals(0, diff.json().get("onlyFirst").size());
    assertTrue(diff.json().get("onlySecond").size() > 0);
    assertTrue(diff.json().get("onlySecond").get(0).textValue().endsWith("@4"), diff.out());
  }

  @Test
  void whatIsNoPlanIsAFailure() throws Exception {
    Path file = Files.writeString(folder.resolve("plan.json"), "{");
    Cli cli = Cli.run("plan", "show", file);
    assertEquals(1, cli.status());
    assertTrue(cli.error().startsWith("moe4j plan show: plan " + file), cli.err());
    Cli missing = Cli.run("plan", "show", folder.resolve("none.json"));
    assertEquals(1, missing.status());
    assertEquals(
        "moe4j plan show: " + folder.resolve("none.json") + ": no such file", missing.error());
  }

  @Test
  void anEmptyCacheHasNothingToExport() {
    Path plan = folder.resolve("plan.json");
    Cli cli = Cli.run("plan", "export", plan, "--device", "cpu", "--cache", cache);
    assertEquals(1, cli.status());
    assertEquals("moe4j plan export: no tunings of this cpu in " + cache, cli.error());
    assertFalse(Files.exists(plan));
  }

  @Test
  void theCacheIsListedVerifiedAndPruned() throws Exception {
    assertEquals("nothing in " + cache, Cli.run("cache", "list", "--cache", cache).out().strip());
    assertEquals(0, tune("--tokens", "1").status());

    Cli list = Cli.run("cache", "list", "--cache", cache, "--json");
    JsonNode environment = list.json().get("environments").get(0);
    assertEquals("fake", environment.get("environment").get("device").textValue());
    int tunings = environment.get("tunings").intValue();
    assertTrue(tunings > 0);
    assertEquals(0, Cli.run("cache", "verify", "--cache", cache).status());

    Path entry = anEntry(Path.of(environment.get("path").textValue()));
    Files.writeString(entry, "damaged");
    Cli verify = Cli.run("cache", "verify", "--cache", cache, "--json");
    assertEquals(1, verify.status());
    assertEquals(tunings - 1, verify.json().get("tunings").intValue());
    assertEquals(1, verify.json().get("damage").size());

    Cli prune = Cli.run("cache", "prune", "--cache", cache);
    assertEquals(0, prune.status());
    assertTrue(prune.out().contains("damaged"), prune.out());

    String name = Path.of(environment.get("path").textValue()).getFileName().toString();
    Cli unknown = Cli.run("cache", "prune", "--cache", cache, "--environment", "none");
    assertEquals(2, unknown.status());
    assertTrue(unknown.error().contains("expected one of [" + name + "]"), unknown.err());
    assertEquals(0, Cli.run("cache", "prune", "--cache", cache, "--environment", name).status());
    assertEquals(
        0, Cli.run("cache", "list", "--cache", cache, "--json").json().get("environments").size());
  }

  private static Path anEntry(Path environment) throws IOException {
    try (var files = Files.list(environment)) {
      return files
          .filter(file -> file.toString().endsWith(".json"))
          .filter(file -> !file.endsWith("environment.json"))
          .findFirst()
          .orElseThrow();
    }
  }
}
