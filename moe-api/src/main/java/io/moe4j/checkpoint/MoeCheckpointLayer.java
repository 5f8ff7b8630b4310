package io.moe4j.checkpoint;

import java.util.Optional;

/**
 * One Mixture-of-Experts layer of a checkpoint. Its output is that of the routed experts plus, with
 * weight 1, that of the shared ones. Borrows from its {@link MoeCheckpoint}.
 *
 * @param index number of the layer in the model, from 0
 * @param routedExperts experts that the router chooses among
 * @param sharedExperts experts that every token goes to, as one expert
 * @param router what makes logits of hidden states
 */
public record MoeCheckpointLayer(
    int index,
    CheckpointExperts routedExperts,
    Optional<CheckpointExperts> sharedExperts,
    RouterWeights router) {}
