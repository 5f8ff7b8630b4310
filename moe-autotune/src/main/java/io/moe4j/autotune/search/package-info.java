/**
 * Finds the best tactic for one token bucket: measurement, elimination, decision and the check of
 * results. Knows nothing of files or threads.
 */
package io.moe4j.autotune.search;
