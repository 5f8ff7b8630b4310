package io.moe4j.autotune.store;

/**
 * A tactic that must not be run again.
 *
 * @param operation what it was run for
 * @param runner name of its runner
 * @param tactic its name
 * @param reason what it did
 */
public record BlockedTactic(String operation, String runner, String tactic, String reason) {}
