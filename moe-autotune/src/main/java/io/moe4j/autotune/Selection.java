package io.moe4j.autotune;

import io.moe4j.autotune.profile.Candidate;
import java.util.OptionalLong;

/**
 * The answer for one shape.
 *
 * @param candidate who runs it, and how
 * @param source where that is from
 * @param bucket the profiled token count that it was best for; empty for the default
 * @param covered whether a tuning was made for this token count; false for the default, and where
 *     only the nearest bucket could answer
 */
public record Selection(
    Candidate candidate, TuningSource source, OptionalLong bucket, boolean covered) {}
