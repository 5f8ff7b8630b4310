package io.moe4j.checkpoint;

import com.google.common.collect.ImmutableList;
import io.moe4j.ExpertWeights;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.WeightMatrix;
import io.moe4j.checkpoint.Finding.Severity;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Reads a layer as loading would, and goes on after what loading would refuse. */
final class LayerInspector {
  /** Of one kind of trouble this many are named; the rest is counted. */
  private static final int MAX_NAMED = 8;

  private static final int SAMPLED_EXPERTS = 8;
  private static final int SAMPLED_ROWS = 16;

  /**
   * Weights of trained layers have a standard deviation of some hundredths. One beyond these bounds
   * means that a scale was taken for its reciprocal, which is off by amax² or more than six
   * magnitudes.
   */
  private static final double MAX_PLAUSIBLE_STD = 100;

  private static final double MIN_PLAUSIBLE_STD = 1e-7;

  private final List<Finding> findings = new ArrayList<>();
  private final List<ProjectionReport> projections = new ArrayList<>();

  private LayerInspector() {}

  static LayerReport inspect(MoeCheckpoint checkpoint, int number) {
    LayerInspector inspector = new LayerInspector();
    Optional<MoeSpec> spec = Optional.empty();
    Optional<MoeSpec> shared = Optional.empty();
    boolean activationScales = false;
    try {
      MoeCheckpointLayer layer = checkpoint.layer(number);
      spec = Optional.of(layer.routedExperts().spec());
      shared = layer.sharedExperts().map(CheckpointExperts::spec);
      activationScales = inspector.readExperts("", layer.routedExperts());
      layer.sharedExperts().ifPresent(experts -> inspector.readExperts("shared.", experts));
    } catch (CheckpointException e) {
      inspector.add(Severity.ERROR, "layer " + number, e.getMessage());
    }
    inspector.findings.sort(Comparator.comparing(Finding::severity).reversed());
    return new LayerReport(
        number,
        spec,
        shared,
        activationScales,
        ImmutableList.copyOf(inspector.projections),
        ImmutableList.copyOf(inspector.findings));
  }

  /** Whether all experts have activation scales. */
  private boolean readExperts(String prefix, CheckpointExperts experts) {
    ProjectionStatistics gate = new ProjectionStatistics(prefix + "gate");
    ProjectionStatistics up = new ProjectionStatistics(prefix + "up");
    ProjectionStatistics down = new ProjectionStatistics(prefix + "down");
    int count = experts.spec().numExperts();
    int step = Math.max(1, count / SAMPLED_EXPERTS);
    int unreadable = 0;
    int unlikePairs = 0;
    double widestRatio = 1;
    String noActivationScale = null;
    for (int expert = 0; expert < count; expert++) {
      try {
        ExpertWeights weights = experts.reader().expert(expert);
        boolean sample = expert % step == 0;
        gate.add(weights.gate(), sample);
        up.add(weights.up().orElseThrow(), sample);
        down.add(weights.down(), sample);
        double ratio = ratio(weights.gate().tensorScale(), weights.up().get().tensorScale());
        unlikePairs += ratio > 1 ? 1 : 0;
        widestRatio = Math.max(widestRatio, ratio);
      } catch (CheckpointException e) {
        if (unreadable++ < MAX_NAMED) {
          add(Severity.ERROR, prefix + "expert " + expert, e.getMessage());
        }
        continue;
      }
      if (noActivationScale == null) {
        noActivationScale = activationScaleProblem(experts, expert);
      }
    }
    if (unreadable > MAX_NAMED) {
      add(
          Severity.ERROR,
          prefix + "experts",
          unreadable
              + " of "
              + count
              + " experts cannot be read, the first "
              + MAX_NAMED
              + " are named");
    }
    if (unlikePairs > 0) {
      add(
          Severity.INFO,
          prefix + "gate, up",
          String.format(
              Locale.ROOT,
              "tensor scales of gate and up differ in %d of %d experts, at most by a factor of"
                  + " %.3g; both are kept",
              unlikePairs,
              count,
              widestRatio));
    }
    if (noActivationScale != null && experts.weightFormat() == QuantFormat.NVFP4) {
      add(Severity.INFO, prefix + "experts", "no NVFP4 activations: " + noActivationScale);
    }
    for (ProjectionStatistics projection : List.of(gate, up, down)) {
      if (projection.experts > 0) {
        projections.add(projection.report());
        judge(projection.report());
      }
    }
    return unreadable == 0 && noActivationScale == null;
  }

  private static double ratio(double a, double b) {
    return a == b ? 1 : Math.max(a, b) / Math.min(a, b);
  }

  private static String activationScaleProblem(CheckpointExperts experts, int expert) {
    try {
      experts.reader().expertWithActivationScales(expert);
      return null;
    } catch (CheckpointException e) {
      return e.getMessage();
    }
  }

  private void judge(ProjectionReport report) {
    if (report.blockScales().nans() > 0) {
      add(
          Severity.ERROR,
          report.name(),
          report.blockScales().nans()
              + " of "
              + report.blockScales().count()
              + " block scales are NaN");
    }
    if (report.format() == QuantFormat.NVFP4 && report.blockScales().min() < 0) {
      add(Severity.WARNING, report.name(), "some block scales are negative");
    }
    double std = report.sampledStd();
    if (std > MAX_PLAUSIBLE_STD || (std < MIN_PLAUSIBLE_STD && std > 0)) {
      add(
          Severity.WARNING,
          report.name(),
          String.format(
              Locale.ROOT,
              "dequantized weights have a standard deviation of %.3g; trained ones have some"
                  + " hundredths%s",
              std,
              report.format() == QuantFormat.NVFP4
                  ? ": is a tensor scale of "
                      + report.tensorScales().max()
                      + " a global scale that was not inverted (or inverted twice)?"
                  : ""));
    } else if (std == 0) {
      add(Severity.WARNING, report.name(), "all sampled weights are zero");
    }
  }

  private void add(Severity severity, String subject, String message) {
    findings.add(new Finding(severity, subject, message));
  }

  /** One projection, gathered over experts. */
  private static final class ProjectionStatistics {
    private final String name;
    private final long[] histogram = new long[256];
    private Spread tensorScales = Spread.NONE;
    private WeightMatrix last;
    private int experts;
    private double squares;
    private long samples;

    ProjectionStatistics(String name) {
      this.name = name;
    }

    void add(WeightMatrix matrix, boolean sample) {
      experts++;
      last = matrix;
      if (matrix.format() == QuantFormat.NVFP4) {
        tensorScales = tensorScales.plus(matrix.tensorScale(), 1);
      }
      if (matrix.format().hasScales()) {
        countScales(matrix);
      }
      if (sample) {
        int step = Math.max(1, matrix.rows() / SAMPLED_ROWS);
        for (int row = 0; row < matrix.rows(); row += step) {
          for (double value : BlockValues.row(matrix, row)) {
            squares += value * value;
            samples++;
          }
        }
      }
    }

    private void countScales(WeightMatrix matrix) {
      byte[] row = new byte[matrix.columns() / matrix.format().block()];
      for (int r = 0; r < matrix.rows(); r++) {
        matrix.scales().orElseThrow().get(Math.toIntExact(r * matrix.scaleRowStride()), row);
        for (byte code : row) {
          histogram[code & 0xFF]++;
        }
      }
    }

    ProjectionReport report() {
      Spread blockScales = Spread.NONE;
      if (last.format().hasScales()) {
        for (int code = 0; code < histogram.length; code++) {
          blockScales =
              blockScales.plus(BlockValues.blockScale(last.format(), code), histogram[code]);
        }
      }
      return new ProjectionReport(
          name,
          last.format(),
          experts,
          last.rows(),
          last.columns(),
          blockScales,
          tensorScales,
          Math.sqrt(squares / samples));
    }
  }
}
