package io.moe4j;

/** How experts are selected from logits and weighted. Ties go to the lower expert id. */
public enum RoutingMethod {
  /** p = softmax(logits); top-k of p; weight p. */
  DEFAULT,
  /** Top-k of the logits; softmax over the chosen. */
  RENORMALIZE,
  /** s = σ(logits), selection by s + bias within the best groups; s renormalized and scaled. */
  DEEPSEEK_V3,
  /** Top-1 of the logits; weight σ(logit). */
  LLAMA4,
  /** Softmax, top-k, divided by the chosen sum if {@code normTopkProb}. */
  RENORMALIZE_NAIVE,
  /** Top-k of the logits; weight the logit. */
  TOP_K,
  /** σ, top-k, divided by the chosen sum if {@code normTopkProb}. */
  SIGMOID_RENORM,
  /** σ + bias selects; σ renormalized and scaled. */
  MINIMAX2,
  /** σ, top-k; weight σ. */
  SIGMOID,
  /** Top-k of the logits; weight σ(logit). */
  TOP_K_SIGMOID;

  /** Whether a bias [E] takes part in the selection. */
  public boolean usesBias() {
    return this == DEEPSEEK_V3 || this == MINIMAX2;
  }

  /** Whether the weights are multiplied by {@link RoutingSpec#scalingFactor}. */
  public boolean scales() {
    return this == DEEPSEEK_V3 || this == MINIMAX2;
  }
}
