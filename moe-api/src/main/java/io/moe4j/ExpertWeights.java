package io.moe4j;

import java.util.Optional;

/**
 * All that belongs to one expert.
 *
 * @param gate [I, H], named gate also where it is the only projection of GEMM1
 * @param up [I, H] for activations with a gate
 * @param down [H, I]
 * @param inputScale NVFP4 activations: tensor scale with which x is quantized for this expert (the
 *     larger of its gate's and up's); 1 otherwise
 * @param intermediateScale NVFP4 activations: tensor scale of h; 1 otherwise
 * @param alpha α of the activation; SiTU: positive, up to 2^64
 * @param beta β of the activation; SiTU: positive, up to 2^64
 * @param limit clamp of SwiGLU and GeGLU, positive infinity for none
 */
public record ExpertWeights(
    WeightMatrix gate,
    Optional<WeightMatrix> up,
    WeightMatrix down,
    float inputScale,
    float intermediateScale,
    float alpha,
    float beta,
    float limit) {

  /** Refuses scales that are not positive and finite, and parameters that are NaN. */
  public ExpertWeights {
    Arguments.notNull("gate", gate);
    Arguments.notNull("up", up);
    Arguments.notNull("down", down);
    checkScale("inputScale", inputScale);
    checkScale("intermediateScale", intermediateScale);
    if (!Float.isFinite(alpha)) {
      throw new InvalidArgumentException("alpha", alpha, "a finite number");
    }
    if (!Float.isFinite(beta)) {
      throw new InvalidArgumentException("beta", beta, "a finite number");
    }
    if (!(limit > 0)) {
      throw new InvalidArgumentException("limit", limit, "a positive number or infinity");
    }
  }

  /** A gated expert with the plain SwiGLU (α = 1, β = 0, no limit) and no activation scales. */
  public static ExpertWeights gated(WeightMatrix gate, WeightMatrix up, WeightMatrix down) {
    return new ExpertWeights(
        gate,
        Optional.of(Arguments.notNull("up", up)),
        down,
        1f,
        1f,
        1f,
        0f,
        Float.POSITIVE_INFINITY);
  }

  /** An expert without an up projection. */
  public static ExpertWeights ungated(WeightMatrix gate, WeightMatrix down) {
    return new ExpertWeights(gate, Optional.empty(), down, 1f, 1f, 1f, 0f, Float.POSITIVE_INFINITY);
  }

  /** Whether any of its projections has a bias. */
  public boolean hasBias() {
    return gate.bias().isPresent()
        || down.bias().isPresent()
        || up.map(matrix -> matrix.bias().isPresent()).orElse(false);
  }

  /** This expert with other parameters of the activation. */
  public ExpertWeights withActivation(float alpha, float beta, float limit) {
    return new ExpertWeights(gate, up, down, inputScale, intermediateScale, alpha, beta, limit);
  }

  /** This expert with the tensor scales that NVFP4 activations need. */
  public ExpertWeights withActivationScales(float inputScale, float intermediateScale) {
    return new ExpertWeights(gate, up, down, inputScale, intermediateScale, alpha, beta, limit);
  }

  private static void checkScale(String name, float scale) {
    if (!(scale > 0) || Float.isInfinite(scale)) {
      throw new InvalidArgumentException(name, scale, "a positive finite factor");
    }
  }
}
