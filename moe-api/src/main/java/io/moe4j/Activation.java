package io.moe4j;

/** The function between the two matrix multiplications; g is a gate output, u an up output. */
public enum Activation {
  /** g·σ(α·g)·(u + β), after g ← min(g, limit) and u ← clamp(u, ±limit). */
  SWIGLU(true),
  /** gelu(g)·u with the erf form of gelu, after the same clamps. */
  GEGLU(true),
  /** relu(g)², no up projection. */
  RELU2(false),
  /** g, no up projection. */
  IDENTITY(false),
  /** β·tanh(u/β) · α·tanh(g/α)·σ(g). */
  SITU(true);

  private final boolean gated;

  Activation(boolean gated) {
    this.gated = gated;
  }

  /** Whether there is an up projection beside the gate. */
  public boolean gated() {
    return gated;
  }
}
