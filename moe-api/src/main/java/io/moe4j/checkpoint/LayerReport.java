package io.moe4j.checkpoint;

import com.google.common.collect.ImmutableList;
import io.moe4j.MoeSpec;
import java.util.Optional;

/**
 * What a layer of a checkpoint is, and what is wrong with it.
 *
 * @param layer number of the layer
 * @param spec the routed experts; empty when the layer could not be read at all
 * @param sharedSpec the shared experts as a layer of one expert, where there are any
 * @param activationScales whether every expert has the scales that NVFP4 activations need
 * @param projections each projection of the routed experts, then of the shared ones
 * @param findings the worst first
 */
public record LayerReport(
    int layer,
    Optional<MoeSpec> spec,
    Optional<MoeSpec> sharedSpec,
    boolean activationScales,
    ImmutableList<ProjectionReport> projections,
    ImmutableList<Finding> findings) {}
