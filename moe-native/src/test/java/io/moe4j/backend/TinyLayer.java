package io.moe4j.backend;

import io.moe4j.DType;
import io.moe4j.ExpertWeights;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.MoeSpec;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.TensorSpec;
import io.moe4j.WeightMatrix;
import io.moe4j.Workspace;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;

/**
 * A layer small enough for a reference in a loop: BF16 weights and inputs that are small integers,
 * so that nothing on the way to the result is rounded. Two tokens, each with two of four experts.
 */
final class TinyLayer implements AutoCloseable {
  static final int TOKENS = 2;
  static final int HIDDEN = 32;
  static final int INTERMEDIATE = 32;
  static final int EXPERTS = 4;
  static final int TOP_K = 2;

  private static final int[][] IDS = {{2, 0}, {3, 2}};
  private static final float[][] WEIGHTS = {{0.5f, 0.25f}, {1f, -2f}};

  static final MoeSpec SPEC =
      MoeSpec.builder()
          .weightFormat(QuantFormat.BF16)
          .hiddenSize(HIDDEN)
          .intermediateSize(INTERMEDIATE)
          .numExperts(EXPERTS)
          .topK(TOP_K)
          .activation(io.moe4j.Activation.RELU2)
          .build();

  private final float[][][] gate = new float[EXPERTS][INTERMEDIATE][HIDDEN];
  private final float[][][] down = new float[EXPERTS][HIDDEN][INTERMEDIATE];
  private final float[][] inputs = new float[TOKENS][HIDDEN];

  private final OwnedTensor hiddenStates;
  private final OwnedTensor ids;
  private final OwnedTensor weights;
  private final OwnedTensor output;
  final MoeLayer layer;
  final Workspace workspace;
  final MoeCall call;

  TinyLayer(MoeDevice device) {
    Random random = new Random(1);
    for (int e = 0; e < EXPERTS; e++) {
      fill(gate[e], random);
      fill(down[e], random);
    }
    fill(inputs, random);
    hiddenStates = upload(device, DType.BF16, bf16(inputs), TOKENS, HIDDEN);
    ids = upload(device, DType.I32, ints(IDS), TOKENS, TOP_K);
    weights = upload(device, DType.F32, floats(WEIGHTS), TOKENS, TOP_K);
    output = device.allocate(TensorSpec.of(DType.F32, TOKENS, HIDDEN));
    layer = device.prepare(SPEC, this::expert);
    workspace = layer.newWorkspace(TOKENS);
    call =
        MoeCall.of(
            new Routing.Unpacked(ids, weights),
            HiddenStates.bf16(hiddenStates),
            new MoeOutput.Finalized(output));
  }

  private ExpertWeights expert(int e) {
    return ExpertWeights.ungated(
        WeightMatrix.bf16(INTERMEDIATE, HIDDEN, bf16(gate[e])),
        WeightMatrix.bf16(HIDDEN, INTERMEDIATE, bf16(down[e])));
  }

  /** The result of the last run. */
  double[][] output() {
    ByteBuffer buffer = output.buffer();
    double[][] result = new double[TOKENS][HIDDEN];
    for (int t = 0; t < TOKENS; t++) {
      for (int i = 0; i < HIDDEN; i++) {
        result[t][i] = buffer.getFloat((t * HIDDEN + i) * Float.BYTES);
      }
    }
    return result;
  }

  /** What the definition gives: y = sum over experts of w * down * relu(gate * x)^2. */
  double[][] expected() {
    double[][] result = new double[TOKENS][HIDDEN];
    for (int t = 0; t < TOKENS; t++) {
      for (int slot = 0; slot < TOP_K; slot++) {
        double[] h = new double[INTERMEDIATE];
        for (int j = 0; j < INTERMEDIATE; j++) {
          h[j] = Math.pow(Math.max(0, dot(gate[IDS[t][slot]][j], inputs[t])), 2);
        }
        for (int i = 0; i < HIDDEN; i++) {
          result[t][i] += WEIGHTS[t][slot] * dot(down[IDS[t][slot]][i], h);
        }
      }
    }
    return result;
  }

  private static double dot(float[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static void fill(float[][] matrix, Random random) {
    for (float[] row : matrix) {
      for (int i = 0; i < row.length; i++) {
        row[i] = random.nextInt(3) - 1;
      }
    }
  }

  private static OwnedTensor upload(
      MoeDevice device, DType dtype, ByteBuffer bytes, long... shape) {
    OwnedTensor tensor = device.allocate(TensorSpec.of(dtype, shape));
    tensor.copyFrom(bytes);
    return tensor;
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Exact for the values of this class. */
  private static ByteBuffer bf16(float[][] matrix) {
    ByteBuffer buffer = direct(matrix.length * matrix[0].length * Short.BYTES);
    for (float[] row : matrix) {
      for (float value : row) {
        buffer.putShort((short) (Float.floatToRawIntBits(value) >> 16));
      }
    }
    return buffer.flip();
  }

  private static ByteBuffer floats(float[][] matrix) {
    ByteBuffer buffer = direct(matrix.length * matrix[0].length * Float.BYTES);
    for (float[] row : matrix) {
      for (float value : row) {
        buffer.putFloat(value);
      }
    }
    return buffer.flip();
  }

  private static ByteBuffer ints(int[][] matrix) {
    ByteBuffer buffer = direct(matrix.length * matrix[0].length * Integer.BYTES);
    for (int[] row : matrix) {
      for (int value : row) {
        buffer.putInt(value);
      }
    }
    return buffer.flip();
  }

  @Override
  public void close() {
    workspace.close();
    layer.close();
    output.close();
    weights.close();
    ids.close();
    hiddenStates.close();
  }
}
