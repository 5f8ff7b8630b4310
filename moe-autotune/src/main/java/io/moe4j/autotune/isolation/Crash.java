package io.moe4j.autotune.isolation;

/**
 * The end that a process came to.
 *
 * @param trial the launch that it was in
 * @param cause the signal, the exit code, or that it hung
 */
public record Crash(Trial trial, String cause) {}
