package io.moe4j;

/**
 * The slice of a layer's routed experts that this device holds; the others contribute nothing.
 *
 * @param localExpertOffset first local expert
 * @param localNumExperts how many follow, itself included
 */
public record ExpertParallel(int localExpertOffset, int localNumExperts) {
  /** Refuses a negative offset and an empty slice. */
  public ExpertParallel {
    if (localExpertOffset < 0) {
      throw new InvalidArgumentException("localExpertOffset", localExpertOffset, "at least 0");
    }
    if (localNumExperts < 1) {
      throw new InvalidArgumentException("localNumExperts", localNumExperts, "at least 1");
    }
  }
}
