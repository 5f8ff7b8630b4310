package io.moe4j.autotune.testing;

import io.moe4j.RoutingMode;

/**
 * A launch that a fake GPU saw.
 *
 * @param tactic its tactic
 * @param tokens its tokens
 * @param routing where its routing came from
 * @param hiddenStates address of its input
 * @param output address of its output
 * @param work what it had to do
 */
public record FakeLaunch(
    String tactic,
    long tokens,
    RoutingMode routing,
    long hiddenStates,
    long output,
    FakeTactic.Work work) {}
