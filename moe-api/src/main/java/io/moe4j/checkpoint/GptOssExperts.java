package io.moe4j.checkpoint;

import static io.moe4j.checkpoint.SafetensorsDType.U8;

import io.moe4j.DType;
import io.moe4j.ExpertWeights;
import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * MXFP4 experts of gpt-oss: one tensor for all experts, rows of gate and up alternating. Reads them
 * in place: a gate's rows are every other row from the first, an up's from the second.
 */
final class GptOssExperts implements ExpertReader {
  /** α of gpt-oss's SwiGLU; its β is 1. */
  private static final float ALPHA = 1.702f;

  private static final float BETA = 1f;
  private static final int BLOCK_BYTES = 16;

  private final StoredTensor gateUpBlocks;
  private final StoredTensor gateUpScales;
  private final StoredTensor gateUpBias;
  private final StoredTensor downBlocks;
  private final StoredTensor downScales;
  private final StoredTensor downBias;
  private final int hiddenSize;
  private final int intermediateSize;
  private final float limit;

  GptOssExperts(
      ShardedTensors tensors,
      GptOssNames names,
      int numExperts,
      int hiddenSize,
      int intermediateSize,
      float limit) {
    this.hiddenSize = hiddenSize;
    this.intermediateSize = intermediateSize;
    this.limit = limit;
    int block = QuantFormat.MXFP4.block();
    long gateUpRows = 2L * intermediateSize;
    this.gateUpBlocks =
        tensors
            .tensor(names.gateUpBlocks())
            .expect(U8, numExperts, gateUpRows, hiddenSize / block, BLOCK_BYTES);
    this.gateUpScales =
        tensors.tensor(names.gateUpScales()).expect(U8, numExperts, gateUpRows, hiddenSize / block);
    this.gateUpBias = tensors.tensor(names.gateUpBias()).expectFloats(numExperts, gateUpRows);
    this.downBlocks =
        tensors
            .tensor(names.downBlocks())
            .expect(U8, numExperts, hiddenSize, intermediateSize / block, BLOCK_BYTES);
    this.downScales =
        tensors
            .tensor(names.downScales())
            .expect(U8, numExperts, hiddenSize, intermediateSize / block);
    this.downBias = tensors.tensor(names.downBias()).expectFloats(numExperts, hiddenSize);
  }

  @Override
  public QuantFormat format() {
    return QuantFormat.MXFP4;
  }

  @Override
  public ExpertWeights expert(int expert) {
    return ExpertWeights.gated(
            interleaved(expert, 0),
            interleaved(expert, 1),
            matrix(downBlocks, downScales, downBias, expert, 0, 1, hiddenSize, intermediateSize))
        .withActivation(ALPHA, BETA, limit);
  }

  @Override
  public ExpertWeights expertWithActivationScales(int expert) {
    throw CheckpointException.ofTensor(
        gateUpBlocks.path(),
        gateUpBlocks.name(),
        "has no input scale beside it, but NVFP4 activations need one");
  }

  private WeightMatrix interleaved(int expert, int parity) {
    return matrix(
        gateUpBlocks, gateUpScales, gateUpBias, expert, parity, 2, intermediateSize, hiddenSize);
  }

  /** Rows {@code first}, {@code first + step}, ... of an expert. */
  private static WeightMatrix matrix(
      StoredTensor blocks,
      StoredTensor scales,
      StoredTensor bias,
      int expert,
      int first,
      int step,
      int rows,
      int columns) {
    long codeBytes = columns / 2;
    long scaleBytes = columns / QuantFormat.MXFP4.block();
    DType biasType = bias.spec().dtype();
    return new WeightMatrix(
        QuantFormat.MXFP4,
        rows,
        columns,
        rows(blocks, expert, first, step * (long) rows, codeBytes),
        step * codeBytes,
        Optional.of(rows(scales, expert, first, step * (long) rows, scaleBytes)),
        step * scaleBytes,
        1f,
        Optional.of(
            new WeightMatrix.Bias(
                biasType, rows(bias, expert, first, step * (long) rows, biasType.bytes()), step)));
  }

  /** An expert's rows from {@code first} on. */
  private static ByteBuffer rows(
      StoredTensor tensor, int expert, int first, long rowsOfExpert, long rowBytes) {
    return tensor.slice(
        (expert * rowsOfExpert + first) * rowBytes, (rowsOfExpert - first) * rowBytes);
  }
}
