package io.moe4j.autotune.profile;

import io.moe4j.RoutingSkew;
import java.util.SplittableRandom;

/**
 * Which of the many possible contents a tensor gets. The same draw gives the same contents in every
 * process, so that ranks measure the same work.
 *
 * @param skew distribution of tokens over experts
 * @param copy number of the copy, from 0; copies differ
 * @param input position of the input that is filled
 */
public record Draw(RoutingSkew skew, int copy, int input) {

  /** A source of random bits for this draw. */
  public SplittableRandom random() {
    return new SplittableRandom(((skew.name().hashCode() * 1_000L) + copy) * 1_000 + input);
  }
}
