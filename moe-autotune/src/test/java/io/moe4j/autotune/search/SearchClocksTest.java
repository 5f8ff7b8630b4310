package io.moe4j.autotune.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.autotune.search.BucketResult.Status;
import io.moe4j.autotune.search.TacticTiming.Outcome;
import io.moe4j.autotune.testing.FakeTactic;
import io.moe4j.autotune.testing.FakeTactic.Behaviour;
import org.junit.jupiter.api.Test;

/** How launches are timed: recorded and replayed where the device can, on its own clock. */
class SearchClocksTest extends SearchFixture {
  @Test
  void launchesThatADeviceCanRecordAreRecordedOnceAndReplayed() {
    gpu.recordingGraphs(0);
    gpu.tactics(
        FakeTactic.of("default", 100), FakeTactic.of("slow", 120), FakeTactic.of("fast", 50));
    BucketResult result = search(1);
    assertEquals("fast", chosen(result));
    assertEquals(3, gpu.recordings(), "graphs");
    assertEquals(0, gpu.eagerLaunches());
    assertTrue(result.copies() > 1);
    assertEquals(result.launches(), gpu.launches().size());
    assertTrue(gpu.launches("fast") >= (long) SearchOptions.DEFAULT.minPasses() * result.copies());
  }

  @Test
  void aTimeIsTheDevicesAndNotTheHosts() {
    gpu.recordingGraphs(0);
    gpu.tactics(FakeTactic.of("default", 100), FakeTactic.of("fast", 50));
    // A replay keeps the host busy for ten times as long.
    assertEquals(50_000, decision(search(512)).nanos(), 1e-6);
  }

  @Test
  void aTacticIsJudgedByWhatItsReplayWrites() {
    gpu.recordingGraphs(0);
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("cheat", 10).behaving(Behaviour.INCOMPLETE),
        FakeTactic.of("honest", 50));
    BucketResult result = search(16);
    assertEquals("honest", chosen(result));
    assertEquals(Outcome.REJECTED, timing(result, "cheat").outcome());
  }

  @Test
  void aDeviceClockThatRunsBackwardsDropsTheTactic() {
    gpu.tactics(
        FakeTactic.of("default", 100),
        FakeTactic.of("backwards", (work, launch) -> -50e3),
        FakeTactic.of("still", (work, launch) -> 0));
    BucketResult result = search(16);
    assertEquals("default", chosen(result));
    assertEquals(Outcome.FAULTED, timing(result, "backwards").outcome());
    assertEquals(Outcome.FAULTED, timing(result, "still").outcome());
  }

  @Test
  void oneJumpBackwardsOnlyCostsASample() {
    gpu.tactics(
        FakeTactic.of("default", (work, launch) -> launch == 5 ? -1e9 : 100e3),
        FakeTactic.of("fast", (work, launch) -> launch == 9 ? -1e9 : 50e3));
    BucketResult result = search(512);
    assertEquals(Status.TUNED, result.status());
    assertEquals("fast", chosen(result));
  }
}
