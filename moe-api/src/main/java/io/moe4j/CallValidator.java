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

  void check(MoeCall call) {
    long tokens = checkHiddenStates(call.hiddenStates());
    checkRouting(call.routing(), tokens);
    checkOptional("perTokenScale", call.perTokenScale(), DType.F32, tokens);
    checkOptional(
        "gemm1LoraDelta", call.gemm1LoraDelta(), DType.BF16, tokens, spec.topK(), spec.gemm1Rows());
    checkOptional("routingReplay", call.routingReplay(), DType.I16, tokens, spec.topK());
    checkOptional("topkIds", call.topkIds(), DType.I32, tokens, spec.topK());
    checkOptional("topkWeights", call.topkWeights(), DType.F32, tokens, spec.topK());
    checkOutput(call.output(), tokens);
    checkOverlap(call);
  }

  private long checkHiddenStates(HiddenStates states) {
    if (states.format() != QuantFormat.BF16 && states.format() != spec.activationFormat()) {
      throw new InvalidArgumentException(
          "hiddenStates.format",
          states.format(),
          "BF16 or the layer's activation format " + spec.activationFormat());
    }
    if (states.codes().spec().rank() != 2) {
      throw new InvalidArgumentException(
          "hiddenStates", states.codes(), "[tokens, " + spec.hiddenSize() + "]");
    }
    long tokens = states.codes().spec().dim(0);
    if (tokens > MoeLayer.MAX_TOKENS) {
      throw new InvalidArgumentException(
          "hiddenStates", states.codes(), "at most " + MoeLayer.MAX_TOKENS + " tokens");
    }
    int hiddenSize = spec.hiddenSize();
    switch (states.format()) {
      case BF16 -> check("hiddenStates", states.codes(), DType.BF16, tokens, hiddenSize);
      case NVFP4 -> {
        check("hiddenStates", states.codes(), DType.E2M1X2, tokens, hiddenSize / 2);
        check("hiddenStates.scales", states.scales().get(), DType.E4M3, tokens, hiddenSize / 16);
      }
      case MXFP8 -> {
        check("hiddenStates", states.codes(), DType.E4M3, tokens, hiddenSize);
        check("hiddenStates.scales", states.scales().get(), DType.UE8M0, tokens, hiddenSize / 32);
      }
      case MXFP4 -> throw new AssertionError("refused with the spec");
    }
    return tokens;
  }

  private void checkRouting(Routing routing, long tokens) {
    if (routing instanceof Routing.FromLogits fromLogits) {
      checkFloat("routing.logits", fromLogits.logits(), tokens, spec.numExperts());
      if (fromLogits.bias().isPresent()) {
        if (!spec.routing().method().usesBias()) {
          throw new InvalidArgumentException(
              "routing.bias", "a bias", "none for " + spec.routing().method());
        }
        check("routing.bias", fromLogits.bias().get(), DType.F32, spec.numExperts());
      }
    } else if (routing instanceof Routing.Packed packed) {
      check("routing.packed", packed.packed(), DType.I32, tokens, spec.topK());
    } else {
      Routing.Unpacked unpacked = (Routing.Unpacked) routing;
      check("routing.ids", unpacked.ids(), DType.I32, tokens, spec.topK());
      checkFloat("routing.weights", unpacked.weights(), tokens, spec.topK());
    }
  }

  private void checkOutput(MoeOutput output, long tokens) {
    if (output instanceof MoeOutput.Finalized finalized) {
      checkFloat("output", finalized.output(), tokens, spec.hiddenSize());
      checkOptional("addend", finalized.addend(), DType.F32, tokens, spec.hiddenSize());
    } else {
      MoeOutput.Permuted permuted = (MoeOutput.Permuted) output;
      long rows = tokens * spec.expandedTopK();
      check("output.rows", permuted.rows(), DType.BF16, rows, spec.hiddenSize());
      check(
          "output.expertWeights", permuted.expertWeights(), DType.F32, tokens, spec.expandedTopK());
      check("output.expandedToPermuted", permuted.expandedToPermuted(), DType.I32, rows);
    }
  }

  private void checkOptional(String name, Optional<Tensor> tensor, DType dtype, long dim0) {
    if (tensor.isPresent()) {
      check(name, tensor.get(), dtype, dim0);
    }
  }

  private void checkOptional(
      String name, Optional<Tensor> tensor, DType dtype, long dim0, long dim1) {
    if (tensor.isPresent()) {
      check(name, tensor.get(), dtype, dim0, dim1);
    }
  }

  private void checkOptional(
      String name, Optional<Tensor> tensor, DType dtype, long dim0, long dim1, long dim2) {
    if (tensor.isPresent()) {
      TensorSpec found = tensor.get().spec();
      if (found.dtype() != dtype
          || found.rank() != 3
          || found.dim(0) != dim0
          || found.dim(1) != dim1
          || found.dim(2) != dim2) {
        throw wrongSpec(name, found, TensorSpec.of(dtype, dim0, dim1, dim2).toString());
      }
      checkDevice(name, tensor.get());
    }
  }

  private void check(String name, Tensor tensor, DType dtype, long dim0) {
    TensorSpec found = tensor.spec();
    if (found.dtype() != dtype || found.rank() != 1 || found.dim(0) != dim0) {
      throw wrongSpec(name, found, TensorSpec.of(dtype, dim0).toString());
    }
    checkDevice(name, tensor);
  }

  private void check(String name, Tensor tensor, DType dtype, long dim0, long dim1) {
    if (tensor.spec().dtype() != dtype || !isShape(tensor.spec(), dim0, dim1)) {
      throw wrongSpec(name, tensor.spec(), TensorSpec.of(dtype, dim0, dim1).toString());
    }
    checkDevice(name, tensor);
  }

  private void checkFloat(String name, Tensor tensor, long dim0, long dim1) {
    DType dtype = tensor.spec().dtype();
    if ((dtype != DType.BF16 && dtype != DType.F32) || !isShape(tensor.spec(), dim0, dim1)) {
      throw wrongSpec(name, tensor.spec(), "BF16 or " + TensorSpec.of(DType.F32, dim0, dim1));
    }
    checkDevice(name, tensor);
  }

  private static boolean isShape(TensorSpec found, long dim0, long dim1) {
    return found.rank() == 2 && found.dim(0) == dim0 && found.dim(1) == dim1;
  }

  private static InvalidArgumentException wrongSpec(
      String name, TensorSpec found, String expected) {
    return new InvalidArgumentException(name, found, expected);
  }

  private void checkDevice(String name, Tensor tensor) {
    if (tensor.device() != device) {
      throw new InvalidArgumentException(
          name,
          "a tensor of "
              + (tensor.device().device().equals(device.device())
                  ? "another opened " + device.device()
                  : tensor.device().device()),
          "one of the layer's " + device.device());
    }
  }

  /** What a launch writes may not share bytes with anything else that it reads or writes. */
  private static void checkOverlap(MoeCall call) {
    for (int written = FIRST_WRITTEN; written < CallTensors.COUNT; written++) {
      Tensor output = CallTensors.tensor(call, written);
      if (output == null || isAddend(call, written)) {
        continue;
      }
      for (int other = 0; other < CallTensors.COUNT; other++) {
        Tensor tensor = CallTensors.tensor(call, other);
        if (other != written && tensor != null && overlap(output, tensor)) {
          throw new InvalidArgumentException(
              NAMES[written], "memory that overlaps " + NAMES[other], "memory of its own");
        }
      }
    }
  }

  /** Places from here on are written, but for the addend. */
  private static final int FIRST_WRITTEN = 6;

  private static final int ADDEND = 10;

  private static final String[] NAMES = {
    "routing",
    "routing (second tensor)",
    "hiddenStates",
    "hiddenStates.scales",
    "perTokenScale",
    "gemm1LoraDelta",
    "routingReplay",
    "topkIds",
    "topkWeights",
    "output",
    "addend or output.expertWeights",
    "output.expandedToPermuted"
  };

  private static boolean isAddend(MoeCall call, int place) {
    return place == ADDEND && call.output() instanceof MoeOutput.Finalized;
  }

  private static boolean overlap(Tensor a, Tensor b) {
    long startA = a.address();
    long startB = b.address();
    return startA < startB + b.spec().bytes() && startB < startA + a.spec().bytes();
  }
}
