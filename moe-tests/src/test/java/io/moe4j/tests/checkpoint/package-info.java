/**
 * Checkpoints as other programs ship them, written here from the formats' definitions, run through
 * the packaged application as a process and judged by the oracle.
 */
package io.moe4j.tests.checkpoint;
