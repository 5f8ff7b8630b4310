package io.moe4j.autotune.isolation;

/**
 * One launch to try.
 *
 * @param tactic name of the tactic
 * @param tokens how many tokens it gets
 */
public record Trial(String tactic, long tokens) {}
