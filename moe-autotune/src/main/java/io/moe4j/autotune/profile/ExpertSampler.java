package io.moe4j.autotune.profile;

import io.moe4j.ExpertParallel;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeSpec;
import io.moe4j.RoutingSkew;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Draws the experts of tokens over all experts of a layer, local or not, as a router in production
 * would: with expert parallelism most of them belong to other ranks. No expert is drawn twice for a
 * token. Immutable.
 */
public final class ExpertSampler {
  private final int numExperts;
  private final int topK;

  /** Experts by falling popularity; the first one is local. */
  private final int[] byPopularity;

  /** Zipf's cumulative distribution over {@link #byPopularity}. */
  private final double[] cumulative;

  /** A sampler for a layer. */
  public ExpertSampler(MoeSpec spec) {
    this(spec.numExperts(), spec.topK(), spec.expertParallel());
  }

  ExpertSampler(int numExperts, int topK, ExpertParallel local) {
    if (topK < 1 || topK > numExperts) {
      throw new InvalidArgumentException("topK", topK, "1 to numExperts = " + numExperts);
    }
    this.numExperts = numExperts;
    this.topK = topK;
    this.byPopularity = spread(numExperts, local.localExpertOffset());
    this.cumulative = zipf(numExperts);
  }

  /** Popular experts are spread evenly over the ranks, the most popular one is here. */
  private static int[] spread(int numExperts, int first) {
    int stride = Math.max(1, (int) Math.round(numExperts * 0.618));
    while (gcd(stride, numExperts) != 1) {
      stride++;
    }
    int[] order = new int[numExperts];
    for (int rank = 0; rank < numExperts; rank++) {
      order[rank] = (int) ((first + (long) rank * stride) % numExperts);
    }
    return order;
  }

  private static int gcd(int a, int b) {
    return b == 0 ? a : gcd(b, a % b);
  }

  private static double[] zipf(int numExperts) {
    double[] cumulative = new double[numExperts];
    double sum = 0;
    for (int rank = 0; rank < numExperts; rank++) {
      sum += 1.0 / (rank + 1);
      cumulative[rank] = sum;
    }
    return cumulative;
  }

  /** k. */
  public int topK() {
    return topK;
  }

  /**
   * Draws one token's experts.
   *
   * @param skew their distribution
   * @param copy shifts balanced routing from copy to copy
   * @param token position of the token
   * @param experts receives k different ids
   */
  public void draw(RoutingSkew skew, SplittableRandom random, int copy, int token, int[] experts) {
    for (int slot = 0; slot < topK; slot++) {
      int expert;
      do {
        expert = candidate(skew, random, copy, token, slot);
      } while (contains(experts, slot, expert));
      experts[slot] = expert;
    }
  }

  private int candidate(RoutingSkew skew, SplittableRandom random, int copy, int token, int slot) {
    return switch (skew) {
      case UNKNOWN ->
          throw new InvalidArgumentException("skew", skew, "a distribution to draw from");
      case UNIFORM -> random.nextInt(numExperts);
      case ZIPF -> byPopularity[zipfRank(random)];
      case HOT -> slot == 0 ? byPopularity[0] : random.nextInt(numExperts);
      case BALANCED -> byPopularity[(int) ((((long) token + copy) * topK + slot) % numExperts)];
    };
  }

  private int zipfRank(SplittableRandom random) {
    int at = Arrays.binarySearch(cumulative, random.nextDouble(cumulative[numExperts - 1]));
    return at < 0 ? -at - 1 : at + 1;
  }

  private static boolean contains(int[] experts, int count, int expert) {
    for (int i = 0; i < count; i++) {
      if (experts[i] == expert) {
        return true;
      }
    }
    return false;
  }
}
