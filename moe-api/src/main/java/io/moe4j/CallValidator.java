package io.moe4j;

import java.util.Optional;

/**
 * Checks a call against its layer, before any native code sees it: devices, types, shapes and
 * overlap. Allocates nothing unless it refuses.
 */
final class CallValidator {
  private final MoeDevice device;
  private final MoeSpec spec;

  CallValidator(MoeDevice device, MoeSpec spec) {
    this.device = device;
    this.spec = spec;
  }

  /** Types, shapes and devices; needs no open tensor. */
  void check(MoeCall call) {
    long tokens = checkHiddenStates(call.hiddenStates());
    checkRouting(call.routing(), tokens);
    int topK = spec.topK();
    if (call.perTokenScale().isPresent()) {
      TensorChecks.is("perTokenScale", call.perTokenScale().get(), DType.F32, tokens);
    }
    if (call.gemm1LoraDelta().isPresent()) {
      TensorChecks.is(
          "gemm1LoraDelta",
          call.gemm1LoraDelta().get(),
          DType.BF16,
          tokens,
          topK,
          spec.gemm1Rows());
    }
    checkOptional("routingReplay", call.routingReplay(), DType.I16, tokens, topK);
    checkOptional("topkIds", call.topkIds(), DType.I32, tokens, topK);
    checkOptional("topkWeights", call.topkWeights(), DType.F32, tokens, topK);
    checkOutput(call.output(), tokens);
    checkPlaces(call);
  }

  private long checkHiddenStates(HiddenStates states) {
    boolean takesCodes = spec.activationFormat().hasScales();
    if (states.format() != QuantFormat.BF16
        && !(takesCodes && states.format() == spec.activationFormat())) {
      throw new InvalidArgumentException(
          "hiddenStates.format",
          states.format(),
          takesCodes ? "BF16 or the layer's activation format " + spec.activationFormat() : "BF16");
    }
    TensorSpec codes = states.codes().spec();
    if (codes.rank() != 2) {
      throw new InvalidArgumentException(
          "hiddenStates", codes, "[tokens, " + spec.hiddenSize() + "]");
    }
    long tokens = codes.dim(0);
    if (tokens > MoeLayer.MAX_TOKENS) {
      throw new InvalidArgumentException(
          "hiddenStates", codes, "at most " + MoeLayer.MAX_TOKENS + " tokens");
    }
    int hiddenSize = spec.hiddenSize();
    switch (states.format()) {
      case BF16 -> TensorChecks.is("hiddenStates", states.codes(), DType.BF16, tokens, hiddenSize);
      case NVFP4 -> {
        TensorChecks.is("hiddenStates", states.codes(), DType.E2M1X2, tokens, hiddenSize / 2);
        checkOptional("hiddenStates.scales", states.scales(), DType.E4M3, tokens, hiddenSize / 16);
      }
      case MXFP8 -> {
        TensorChecks.is("hiddenStates", states.codes(), DType.E4M3, tokens, hiddenSize);
        checkOptional("hiddenStates.scales", states.scales(), DType.UE8M0, tokens, hiddenSize / 32);
      }
      case MXFP4, FP8_PER_TOKEN, INT8 -> throw new AssertionError("refused above");
    }
    return tokens;
  }

  private void checkRouting(Routing routing, long tokens) {
    if (routing instanceof Routing.FromLogits fromLogits) {
      TensorChecks.isFloats("routing.logits", fromLogits.logits(), tokens, spec.numExperts());
      if (fromLogits.bias().isPresent()) {
        if (!spec.routing().method().usesBias()) {
          throw new InvalidArgumentException(
              "routing.bias", "a bias", "none for " + spec.routing().method());
        }
        TensorChecks.is("routing.bias", fromLogits.bias().get(), DType.F32, spec.numExperts());
      }
    } else if (routing instanceof Routing.Packed packed) {
      TensorChecks.is("routing.packed", packed.packed(), DType.I32, tokens, spec.topK());
    } else {
      Routing.Unpacked unpacked = (Routing.Unpacked) routing;
      TensorChecks.is("routing.ids", unpacked.ids(), DType.I32, tokens, spec.topK());
      TensorChecks.isFloats("routing.weights", unpacked.weights(), tokens, spec.topK());
    }
  }

  private void checkOutput(MoeOutput output, long tokens) {
    if (output instanceof MoeOutput.Finalized finalized) {
      TensorChecks.isFloats("output", finalized.output(), tokens, spec.hiddenSize());
      checkOptional("addend", finalized.addend(), DType.F32, tokens, spec.hiddenSize());
    } else {
      MoeOutput.Permuted permuted = (MoeOutput.Permuted) output;
      int slots = spec.expandedTopK();
      long rows = tokens * slots;
      TensorChecks.is("output.rows", permuted.rows(), DType.BF16, rows, spec.hiddenSize());
      TensorChecks.is("output.expertWeights", permuted.expertWeights(), DType.F32, tokens, slots);
      TensorChecks.is("output.expandedToPermuted", permuted.expandedToPermuted(), DType.I32, rows);
    }
  }

  private static void checkOptional(
      String name, Optional<Tensor> tensor, DType dtype, long dim0, long dim1) {
    if (tensor.isPresent()) {
      TensorChecks.is(name, tensor.get(), dtype, dim0, dim1);
    }
  }

  private void checkPlaces(MoeCall call) {
    for (int place = 0; place < CallTensors.COUNT; place++) {
      Tensor tensor = CallTensors.tensor(call, place);
      if (tensor == null) {
        continue;
      }
      if (tensor.device() != device) {
        TensorChecks.isOn(CallTensors.name(call, place), tensor, device);
      }
      if (!tensor.writable() && CallTensors.isWritten(call, place)) {
        TensorChecks.isWritable(CallTensors.name(call, place), tensor);
      }
    }
  }

  /**
   * What a launch writes may not share bytes with anything else that it reads or writes. The
   * tensors have to be open.
   */
  static void checkOverlap(MoeCall call) {
    for (int place = CallTensors.FIRST_WRITTEN; place < CallTensors.COUNT; place++) {
      Tensor written = CallTensors.tensor(call, place);
      if (written == null || !CallTensors.isWritten(call, place)) {
        continue;
      }
      for (int other = 0; other < CallTensors.COUNT; other++) {
        Tensor tensor = CallTensors.tensor(call, other);
        if (other != place && tensor != null && TensorChecks.overlap(written, tensor)) {
          throw new InvalidArgumentException(
              CallTensors.name(call, place),
              "memory that overlaps " + CallTensors.name(call, other),
              "memory of its own");
        }
      }
    }
  }
}
