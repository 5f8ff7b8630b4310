package io.moe4j.cli;

import com.google.common.primitives.ImmutableDoubleArray;
import io.moe4j.checkpoint.SafetensorsFile;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What the demo's layer has to give, in plain double precision and straight from the file's bytes:
 * the demo's own check of the library, of which it uses no more than the file's reader.
 */
final class DemoReference implements AutoCloseable {
  private static final int H = DemoCheckpoint.HIDDEN_SIZE;
  private static final int I = DemoCheckpoint.INTERMEDIATE_SIZE;
  private static final double ALPHA = 1.702;
  private static final double BETA = 1;
  private static final double[] E2M1 = {
    0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6
  };

  private final SafetensorsFile file;

  /**
   * A token's result.
   *
   * @param token its row
   * @param experts the chosen, best first
   * @param output [H]
   */
  record Row(int token, List<Integer> experts, ImmutableDoubleArray output) {}

  DemoReference(Path folder) {
    this.file = SafetensorsFile.open(folder.resolve("model.safetensors"));
  }

  /** The layer's result for one token of BF16 hidden states [T, H]. */
  Row row(HostTensor hiddenStates, int token) {
    double[] x = new double[H];
    Arrays.setAll(x, column -> hiddenStates.floatAt(token * H + column));
    double[] logits = router(x);
    List<Integer> experts = best(logits);
    double[] weights = softmax(experts.stream().mapToDouble(e -> logits[e]).toArray());
    double[] output = new double[H];
    for (int slot = 0; slot < weights.length; slot++) {
      double[] y = expert(experts.get(slot), x);
      for (int i = 0; i < H; i++) {
        output[i] += weights[slot] * y[i];
      }
    }
    return new Row(token, experts, ImmutableDoubleArray.copyOf(output));
  }

  /** The router's projection, not quantized. */
  private double[] router(double[] x) {
    ByteBuffer weight = file.tensor(DemoCheckpoint.ROUTER + "weight").buffer();
    ByteBuffer bias = file.tensor(DemoCheckpoint.ROUTER + "bias").buffer();
    double[] y = new double[DemoCheckpoint.NUM_EXPERTS];
    for (int row = 0; row < y.length; row++) {
      double sum = bf16(bias, row);
      for (int i = 0; i < H; i++) {
        sum += bf16(weight, row * H + i) * x[i];
      }
      y[row] = sum;
    }
    return y;
  }

  /** The largest logits, ties to the lower expert. */
  private static List<Integer> best(double[] logits) {
    List<Integer> best = new ArrayList<>();
    while (best.size() < DemoCheckpoint.TOP_K) {
      int next = -1;
      for (int e = 0; e < logits.length; e++) {
        if (!best.contains(e) && (next < 0 || logits[e] > logits[next])) {
          next = e;
        }
      }
      best.add(next);
    }
    return best;
  }

  private static double[] softmax(double[] logits) {
    double[] p = new double[logits.length];
    double sum = 0;
    for (int i = 0; i < p.length; i++) {
      p[i] = Math.exp(logits[i] - logits[0]);
      sum += p[i];
    }
    for (int i = 0; i < p.length; i++) {
      p[i] /= sum;
    }
    return p;
  }

  private double[] expert(int expert, double[] x) {
    double[] gateUp = projection("gate_up_proj", expert, 2 * I, x);
    double[] h = new double[I];
    for (int i = 0; i < I; i++) {
      h[i] = swiglu(gateUp[2 * i], gateUp[2 * i + 1]);
    }
    return projection("down_proj", expert, H, h);
  }

  private static double swiglu(double gate, double up) {
    double limit = DemoCheckpoint.SWIGLU_LIMIT;
    double g = Math.min(gate, limit);
    double u = Math.max(-limit, Math.min(up, limit));
    return g / (1 + Math.exp(-ALPHA * g)) * (u + BETA);
  }

  /** Rows of MXFP4 weights times a vector, plus the bias. */
  private double[] projection(String name, int expert, int rows, double[] x) {
    String prefix = DemoCheckpoint.EXPERTS + name;
    int blocks = rows * (x.length / 32);
    ByteBuffer codes = file.tensor(prefix + "_blocks").slice(16L * blocks * expert, 16L * blocks);
    ByteBuffer scales = file.tensor(prefix + "_scales").slice((long) blocks * expert, blocks);
    ByteBuffer bias = file.tensor(prefix + "_bias").buffer();
    double[] y = new double[rows];
    for (int row = 0, block = 0; row < rows; row++) {
      double sum = bf16(bias, expert * rows + row);
      for (int column = 0; column < x.length; column += 32, block++) {
        double dot = 0;
        for (int j = 0; j < 16; j++) {
          int pair = codes.get(16 * block + j);
          dot +=
              E2M1[pair & 15] * x[column + 2 * j] + E2M1[(pair >> 4) & 15] * x[column + 2 * j + 1];
        }
        sum += Math.scalb(dot, (scales.get(block) & 255) - 127);
      }
      y[row] = sum;
    }
    return y;
  }

  private static double bf16(ByteBuffer values, int index) {
    return Bf16.toFloat(values.getShort(2 * index));
  }

  @Override
  public void close() {
    file.close();
  }
}
