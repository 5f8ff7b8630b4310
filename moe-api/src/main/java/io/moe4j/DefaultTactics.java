package io.moe4j;

/** The back end's own choice for each token count, read once for each power of two. */
final class DefaultTactics implements TacticSelector {
  private final Tactic[] byLog2 = new Tactic[64];

  DefaultTactics(MoeLayer layer) {
    for (int log2 = 0; log2 < byLog2.length; log2++) {
      long tokens = Math.min(1L << Math.min(log2, 62), MoeLayer.MAX_TOKENS);
      byLog2[log2] = layer.tactics(tokens).get(0);
    }
  }

  @Override
  public Tactic select(MoeCall call) {
    return byLog2[63 - Long.numberOfLeadingZeros(Math.max(call.tokens(), 1))];
  }
}
