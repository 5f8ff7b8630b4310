/**
 * What only a CUDA device has: streams, events, graphs, memory of other CUDA libraries. Needs
 * {@code -Dmoe4j.tests.device=cuda:N}, and says loudly when it is not tested.
 */
package io.moe4j.tests.gpu;
