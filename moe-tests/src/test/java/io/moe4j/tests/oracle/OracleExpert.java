package io.moe4j.tests.oracle;

/**
 * One expert in float64; matrices row-major.
 *
 * @param gate [I, H]
 * @param up [I, H], or null without a gate
 * @param down [H, I]
 * @param gateBias [I] or null
 * @param upBias [I] or null
 * @param downBias [H] or null
 * @param inputScale tensor scale of x, for NVFP4 activations
 * @param intermediateScale tensor scale of h, for NVFP4 activations
 * @param alpha α of the activation
 * @param beta β of the activation
 * @param limit clamp of the activation
 */
@SuppressWarnings("ArrayRecordComponent")
public record OracleExpert(
    double[] gate,
    double[] up,
    double[] down,
    double[] gateBias,
    double[] upBias,
    double[] downBias,
    float inputScale,
    float intermediateScale,
    float alpha,
    float beta,
    float limit) {}
