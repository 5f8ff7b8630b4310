package io.moe4j.checkpoint;

import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * A layer's router.
 *
 * @param weight F32 or BF16 [E, H]
 * @param bias F32 or BF16 [E], added to the logits
 * @param selectionBias F32 [E], direct and little-endian: added to the scores for selection alone
 *     (DeepSeek-V3's {@code e_score_correction_bias}); the bias of {@link
 *     io.moe4j.Routing.FromLogits}
 */
public record RouterWeights(
    StoredTensor weight, Optional<StoredTensor> bias, Optional<ByteBuffer> selectionBias) {

  /** A router without biases. */
  RouterWeights(StoredTensor weight) {
    this(weight, Optional.empty(), Optional.empty());
  }
}
