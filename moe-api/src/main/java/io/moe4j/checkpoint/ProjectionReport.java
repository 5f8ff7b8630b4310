package io.moe4j.checkpoint;

import io.moe4j.QuantFormat;

/**
 * What one projection is like, over all experts of a layer that could be read.
 *
 * @param name "gate", "up", "down"; with the prefix "shared." those of the shared experts
 * @param format format of the weights
 * @param experts how many experts were read
 * @param rows output features of each
 * @param columns input features of each
 * @param blockScales all block scales, decoded; none for BF16
 * @param tensorScales all tensor scales, as multipliers; none where the format has none
 * @param sampledStd root mean square of the dequantized weights of a sample of rows
 */
public record ProjectionReport(
    String name,
    QuantFormat format,
    int experts,
    int rows,
    int columns,
    Spread blockScales,
    Spread tensorScales,
    double sampledStd) {}
