package io.moe4j;

/** Checks that an expert's matrices are what the layer's spec says. */
final class ExpertValidator {
  private ExpertValidator() {}

  static void check(MoeSpec spec, int expert, ExpertWeights weights) {
    String name = "experts[" + expert + "].";
    if (weights == null) {
      throw new InvalidArgumentException(name + "weights", "null", "the expert's weights");
    }
    check(spec, name + "gate", weights.gate(), spec.intermediateSize(), spec.hiddenSize());
    if (spec.activation().gated() != weights.up().isPresent()) {
      throw new InvalidArgumentException(
          name + "up",
          weights.up().isPresent() ? "a matrix" : "none",
          (spec.activation().gated() ? "a matrix for " : "none for ") + spec.activation());
    }
    if (weights.up().isPresent()) {
      check(spec, name + "up", weights.up().get(), spec.intermediateSize(), spec.hiddenSize());
    }
    check(spec, name + "down", weights.down(), spec.hiddenSize(), spec.intermediateSize());
  }

  private static void check(MoeSpec spec, String name, WeightMatrix matrix, int rows, int columns) {
    if (matrix.format() != spec.weightFormat()) {
      throw new InvalidArgumentException(
          name + ".format", matrix.format(), spec.weightFormat().toString());
    }
    if (matrix.rows() != rows || matrix.columns() != columns) {
      throw new InvalidArgumentException(
          name,
          "[" + matrix.rows() + ", " + matrix.columns() + "]",
          "[" + rows + ", " + columns + "]");
    }
  }
}
