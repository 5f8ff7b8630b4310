package io.moe4j.autotune.search;

import io.moe4j.autotune.profile.Candidate;

/**
 * A candidate's time in units of the default's.
 *
 * @param candidate whose
 * @param order place in the list of candidates; 0 is the default
 * @param ratio below 1 where it is faster
 * @param noise standard error of the ratio
 */
record RelativeTime(Candidate candidate, int order, double ratio, double noise) {}
