package io.moe4j.tests.oracle;

/**
 * One token on its way through a layer.
 *
 * @param x [H], what the matrix units see if it was quantized before
 * @param prequantized whether {@code x} came as codes, and is not to be quantized again
 * @param ids chosen experts
 * @param weights their weights
 * @param scale multiplies GEMM1's result before bias and activation
 * @param loraDelta [k][2I] (gate then up; [k][I] without a gate) added to GEMM1's outputs, or null
 */
@SuppressWarnings("ArrayRecordComponent")
public record OracleToken(
    double[] x,
    boolean prequantized,
    int[] ids,
    double[] weights,
    double scale,
    double[][] loraDelta) {}
