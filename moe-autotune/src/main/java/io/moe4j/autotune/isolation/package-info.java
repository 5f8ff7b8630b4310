/**
 * Tries tactics in another process, so that one that crashes takes nothing with it. Costs the time
 * and memory of preparing the layer a second time.
 */
package io.moe4j.autotune.isolation;
