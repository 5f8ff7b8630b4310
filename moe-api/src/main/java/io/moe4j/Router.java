package io.moe4j;

import java.util.Optional;

/**
 * A layer's router: the dense projection from hidden states to one logit for each expert. Borrows
 * its tensors, which have to stay open as long as it is used. Immutable; safe from any thread.
 */
public final class Router {
  private final Tensor weight;
  private final Optional<Tensor> bias;

  /**
   * A router over these tensors.
   *
   * @param weight F32 or BF16 [E, H]
   * @param bias F32 or BF16 [E], added to the logits
   */
  public Router(Tensor weight, Optional<Tensor> bias) {
    TensorChecks.isFloatMatrix("weight", weight);
    this.weight = weight;
    this.bias = Arguments.notNull("bias", bias);
    if (bias.isPresent()) {
      TensorChecks.isFloats("bias", bias.get(), numExperts());
      TensorChecks.isOn("bias", bias.get(), weight.device());
    }
  }

  /** E. */
  public long numExperts() {
    return weight.spec().dim(0);
  }

  /** H. */
  public long hiddenSize() {
    return weight.spec().dim(1);
  }

  /**
   * logits[t, e] = hiddenStates[t] · weight[e] + bias[e]; the CPU accumulates in F64.
   *
   * @param hiddenStates F32 or BF16 [T, H]
   * @param logits F32 [T, E], written
   */
  public void logits(Tensor hiddenStates, Tensor logits, Stream stream) {
    MoeDevice device = weight.device();
    TensorChecks.isFloatMatrix("hiddenStates", hiddenStates);
    long tokens = hiddenStates.spec().dim(0);
    TensorChecks.isFloats("hiddenStates", hiddenStates, tokens, hiddenSize());
    TensorChecks.isOn("hiddenStates", hiddenStates, device);
    TensorChecks.is("logits", logits, DType.F32, tokens, numExperts());
    TensorChecks.isOn("logits", logits, device);
    TensorChecks.isWritable("logits", logits);
    Tensor biasOrNull = bias.orElse(null);
    TensorUse.during(
        device,
        stream,
        handle -> {
          TensorChecks.isApart("logits", logits, "hiddenStates", hiddenStates);
          TensorChecks.isApart("logits", logits, "weight", weight);
          if (biasOrNull != null) {
            TensorChecks.isApart("logits", logits, "bias", biasOrNull);
          }
          device
              .backend()
              .routerLogits(
                  tokens,
                  hiddenSize(),
                  numExperts(),
                  hiddenStates.spec().dtype(),
                  hiddenStates.address(),
                  weight.spec().dtype(),
                  weight.address(),
                  biasOrNull == null ? DType.F32 : biasOrNull.spec().dtype(),
                  biasOrNull == null ? 0 : biasOrNull.address(),
                  logits.address(),
                  handle);
        },
        weight,
        biasOrNull,
        hiddenStates,
        logits);
  }
}
