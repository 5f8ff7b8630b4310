/**
 * FP4 Mixture-of-Experts layers: open a {@link io.moe4j.MoeDevice}, prepare a {@link
 * io.moe4j.MoeLayer} from {@link io.moe4j.MoeWeights}, run {@link io.moe4j.MoeCall}s.
 *
 * <p>A launch is a function of layer, routing, tokens and tactic. This module is its vocabulary; it
 * has no native code: back ends are found through {@link io.moe4j.spi.BackendProvider}.
 */
package io.moe4j;
