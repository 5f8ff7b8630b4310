package io.moe4j.cli;

import io.moe4j.QuantFormat;

/** Formats of the inputs of matrix multiplications, as {@code --activations} names them. */
enum ActivationFormat {
  BF16(QuantFormat.BF16),
  NVFP4(QuantFormat.NVFP4),
  MXFP8(QuantFormat.MXFP8),
  FP8_PER_TOKEN(QuantFormat.FP8_PER_TOKEN),
  INT8(QuantFormat.INT8);

  private final QuantFormat format;

  ActivationFormat(QuantFormat format) {
    this.format = format;
  }

  QuantFormat format() {
    return format;
  }
}
