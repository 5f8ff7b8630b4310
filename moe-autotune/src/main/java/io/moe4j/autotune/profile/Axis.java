package io.moe4j.autotune.profile;

/**
 * One dimension of one input of an operation.
 *
 * @param input position of the input, from 0
 * @param dimension 0 is the outermost
 */
public record Axis(int input, int dimension) {}
