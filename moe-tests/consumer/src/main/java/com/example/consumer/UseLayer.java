package com.example.consumer;

import io.moe4j.Activation;
import io.moe4j.DType;
import io.moe4j.ExpertWeights;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.TensorSpec;
import io.moe4j.WeightMatrix;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.autotune.TuningOptions;
import io.moe4j.autotune.profile.CallKind;
import io.moe4j.autotune.profile.TokenBuckets;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Tunes and runs a layer whose answer needs no reference: each expert multiplies by one, then by
 * two, and has the weight one half, so that the output is the input.
 */
public final class UseLayer {
  private static final int SIZE = 32;
  private static final int EXPERTS = 2;
  private static final int TOKENS = 3;

  private UseLayer() {}

  /** Fails unless the output is the input. */
  public static void main(String[] arguments) {
    MoeSpec spec =
        MoeSpec.builder()
            .weightFormat(QuantFormat.MXFP4)
            .hiddenSize(SIZE)
            .intermediateSize(SIZE)
            .numExperts(EXPERTS)
            .topK(1)
            .activation(Activation.IDENTITY)
            .build();
    ExpertWeights expert = ExpertWeights.ungated(diagonal(2), diagonal(4));
    TensorSpec hidden = TensorSpec.of(DType.BF16, TOKENS, SIZE);
    TensorSpec chosen = TensorSpec.of(DType.I32, TOKENS, 1);
    ByteBuffer x = littleEndian((int) hidden.bytes());
    for (int i = 0; i < TOKENS * SIZE; i++) {
      x.putShort(2 * i, (short) (Float.floatToIntBits(i - 40) >>> 16));
    }
    ByteBuffer packed = littleEndian((int) chosen.bytes());
    for (int token = 0; token < TOKENS; token++) {
      int half = Float.floatToIntBits(0.5f) >>> 16;
      packed.putInt(4 * token, (token % EXPERTS) << 16 | half);
    }
    if (UseLayer.class.getResource("/picocli/CommandLine.class") != null) {
      throw new AssertionError("the application's command line came with the tuner");
    }
    Autotuner tuner =
        Autotuner.create(TunerOptions.builder().buckets(TokenBuckets.of(TOKENS)).build());
    try (MoeDevice device = MoeDevice.open("cpu");
        MoeLayer layer = device.prepare(spec, held -> expert, tuner);
        var input = device.upload(hidden, x);
        var routing = device.upload(chosen, packed);
        var output = device.allocate(hidden);
        var workspace = layer.newWorkspace(TOKENS)) {
      MoeCall call =
          MoeCall.of(
              new Routing.Packed(routing),
              HiddenStates.bf16(input),
              new MoeOutput.Finalized(output));
      tuner.tune(layer, CallKind.of(call), TuningOptions.DEFAULT);
      tuner.coverage(layer, CallKind.of(call), TOKENS).requireComplete();
      layer.run(call, workspace);
      ByteBuffer y = littleEndian((int) hidden.bytes());
      output.copyTo(y);
      if (!y.equals(x)) {
        throw new AssertionError("the output is not the input");
      }
      System.out.printf(
          "%s: %s ran on %s%n",
          UseLayer.class.getModule(), layer.tactic(call), device.info().model());
    }
  }

  /** An MXFP4 matrix with an FP4 code on its diagonal: 2 is 1.0, 4 is 2.0. */
  private static WeightMatrix diagonal(int code) {
    ByteBuffer codes = littleEndian(SIZE * SIZE / 2);
    ByteBuffer scales = littleEndian(SIZE);
    for (int row = 0; row < SIZE; row++) {
      codes.put(row * SIZE / 2 + row / 2, (byte) (code << 4 * (row % 2)));
      scales.put(row, (byte) 127);
    }
    return WeightMatrix.quantized(QuantFormat.MXFP4, SIZE, SIZE, codes, scales, 1f);
  }

  private static ByteBuffer littleEndian(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
