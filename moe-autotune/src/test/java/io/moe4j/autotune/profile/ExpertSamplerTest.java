package io.moe4j.autotune.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.ExpertParallel;
import io.moe4j.InvalidArgumentException;
import io.moe4j.RoutingSkew;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ExpertSamplerTest {
  private static final int TOKENS = 4000;

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "UNKNOWN")
  void noTokenHasAnExpertTwice(RoutingSkew skew) {
    for (int[] shape : new int[][] {{1, 1}, {4, 4}, {16, 4}, {128, 8}, {32, 32}, {1000, 7}}) {
      int[] load = draw(skew, shape[0], shape[1], new ExpertParallel(0, 1), 200);
      assertEquals(200 * shape[1], Arrays.stream(load).sum());
    }
  }

  @Test
  void uniformRoutingLoadsAllExpertsAlike() {
    int[] load = draw(RoutingSkew.UNIFORM, 64, 4, new ExpertParallel(0, 64), TOKENS);
    assertTrue(Arrays.stream(load).min().getAsInt() > 170, () -> Arrays.toString(load));
    assertTrue(Arrays.stream(load).max().getAsInt() < 330, () -> Arrays.toString(load));
  }

  @Test
  void zipfRoutingHasPopularExperts() {
    int[] load = draw(RoutingSkew.ZIPF, 64, 4, new ExpertParallel(0, 64), TOKENS);
    int[] sorted = Arrays.stream(load).sorted().toArray();
    assertTrue(sorted[63] > 3 * sorted[48], () -> Arrays.toString(sorted));
    assertTrue(sorted[0] > 0, () -> Arrays.toString(sorted));
  }

  @Test
  void theHotExpertIsEveryTokensAndLocal() {
    int[] load = draw(RoutingSkew.HOT, 64, 4, new ExpertParallel(16, 8), TOKENS);
    assertEquals(TOKENS, load[16]);
    assertTrue(Arrays.stream(load).filter(count -> count > TOKENS / 4).count() == 1);
  }

  @Test
  void balancedRoutingDiffersByOneAtMost() {
    int[] load = draw(RoutingSkew.BALANCED, 60, 7, new ExpertParallel(0, 60), TOKENS);
    int spread = Arrays.stream(load).max().getAsInt() - Arrays.stream(load).min().getAsInt();
    assertTrue(spread <= 1, () -> Arrays.toString(load));
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "UNKNOWN")
  void aRankWithFewerExpertsThanTopKGetsItsShare(RoutingSkew skew) {
    // 2 of 64 experts are here, each token has 8: most of its experts belong to other ranks.
    int[] load = draw(skew, 64, 8, new ExpertParallel(30, 2), TOKENS);
    int local = load[30] + load[31];
    assertTrue(local > TOKENS / 8, () -> local + " local rows");
    assertTrue(local < 2 * TOKENS, () -> local + " local rows");
  }

  @Test
  void moreExpertsThanThereAreCannotBeDrawn() {
    assertThrows(
        InvalidArgumentException.class, () -> new ExpertSampler(4, 5, new ExpertParallel(0, 4)));
  }

  private static int[] draw(
      RoutingSkew skew, int numExperts, int topK, ExpertParallel local, int tokens) {
    ExpertSampler sampler = new ExpertSampler(numExperts, topK, local);
    int[] load = new int[numExperts];
    int[] experts = new int[topK];
    SplittableRandom random = new SplittableRandom(7);
    for (int token = 0; token < tokens; token++) {
      sampler.draw(skew, random, 3, token, experts);
      assertEquals(topK, Arrays.stream(experts).distinct().count());
      for (int expert : experts) {
        load[expert]++;
      }
    }
    return load;
  }
}
