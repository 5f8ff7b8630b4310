package io.moe4j;

import java.util.Optional;

/** Where a launch writes its result: combined for each token, or left to the caller to combine. */
public sealed interface MoeOutput {

  /**
   * The layer's output.
   *
   * @param output BF16 or F32 [T, H]
   * @param addend F32 [T, H], added before the one rounding of the output (a residual, or the
   *     output of shared experts that ran by themselves)
   */
  record Finalized(Tensor output, Optional<Tensor> addend) implements MoeOutput {
    /** Refuses nulls. */
    public Finalized {
      Arguments.notNull("output", output);
      Arguments.notNull("addend", addend);
    }

    /** The layer's output alone. */
    public Finalized(Tensor output) {
      this(output, Optional.empty());
    }
  }

  /**
   * GEMM2's rows, not weighted and not combined; R = T * (k + S).
   *
   * @param rows BF16 [R, H], ordered by expert, then token, without gaps
   * @param expertWeights F32 [T, k + S]
   * @param expandedToPermuted I32 [R]: row of (token, slot), or -1 where its expert is not local
   */
  record Permuted(Tensor rows, Tensor expertWeights, Tensor expandedToPermuted)
      implements MoeOutput {
    /** Refuses nulls. */
    public Permuted {
      Arguments.notNull("output.rows", rows);
      Arguments.notNull("output.expertWeights", expertWeights);
      Arguments.notNull("output.expandedToPermuted", expandedToPermuted);
    }
  }
}
