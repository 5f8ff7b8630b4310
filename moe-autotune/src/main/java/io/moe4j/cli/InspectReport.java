package io.moe4j.cli;

import static java.util.stream.Collectors.joining;

import com.fasterxml.jackson.annotation.JsonProperty;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingSpec;
import io.moe4j.checkpoint.CheckpointConfig;
import io.moe4j.checkpoint.Finding;
import io.moe4j.checkpoint.LayerReport;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.checkpoint.ProjectionReport;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * What a checkpoint is.
 *
 * @param family model family
 * @param quantization what the configuration declares; null where it says nothing
 * @param layers the layers that have experts
 * @param findings what is worth knowing or wrong
 */
record InspectReport(
    String checkpoint,
    String family,
    Quantization quantization,
    List<Layer> layers,
    List<Problem> findings)
    implements OutputOptions.Report {

  /** How the configuration declares the quantization. */
  record Quantization(String method, Set<String> formats) {
    static Quantization of(CheckpointConfig.Quantization declared) {
      return new Quantization(declared.method(), declared.formats());
    }

    @Override
    public String toString() {
      return formats.isEmpty() ? method : method + " " + String.join(", ", formats);
    }
  }

  /**
   * One layer; its parts are null where they could not be read, or where there are none.
   *
   * @param activationFormats formats that activations may have: those of which both sizes are whole
   *     blocks, NVFP4 where the checkpoint has scales for it, INT8, which CPUs have, where weights
   *     are FP4
   */
  record Layer(
      int layer,
      Experts routed,
      RoutingSpec routing,
      Experts shared,
      List<QuantFormat> activationFormats,
      List<Projection> projections) {

    static Layer of(LayerReport report) {
      return new Layer(
          report.layer(),
          report.spec().map(Experts::of).orElse(null),
          report.spec().map(MoeSpec::routing).orElse(null),
          report.sharedSpec().map(Experts::of).orElse(null),
          report.spec().map(spec -> supportedActivations(spec, report)).orElse(List.of()),
          report.projections().stream().map(Projection::of).toList());
    }
  }

  private static List<QuantFormat> supportedActivations(MoeSpec spec, LayerReport report) {
    return Arrays.stream(QuantFormat.values())
        .filter(QuantFormat::isForActivations)
        .filter(format -> spec.hiddenSize() % format.block() == 0)
        .filter(format -> spec.intermediateSize() % format.block() == 0)
        .filter(format -> format != QuantFormat.NVFP4 || report.activationScales())
        .filter(format -> format != QuantFormat.INT8 || spec.weightFormat() != QuantFormat.BF16)
        .toList();
  }

  /** Shape and format of a layer's experts. */
  record Experts(
      int hiddenSize, int intermediateSize, int numExperts, int topK, QuantFormat weightFormat) {
    static Experts of(MoeSpec spec) {
      return new Experts(
          spec.hiddenSize(),
          spec.intermediateSize(),
          spec.numExperts(),
          spec.topK(),
          spec.weightFormat());
    }
  }

  /** One projection over all experts of a layer. */
  record Projection(
      String name,
      QuantFormat format,
      int experts,
      int rows,
      int columns,
      Spread tensorScales,
      Spread blockScales,
      double sampledRms) {
    static Projection of(ProjectionReport report) {
      return new Projection(
          report.name(),
          report.format(),
          report.experts(),
          report.rows(),
          report.columns(),
          Spread.of(report.tensorScales()),
          Spread.of(report.blockScales()),
          report.sampledStd());
    }
  }

  /** The smallest and largest of some scales. */
  record Spread(double min, double max) {
    /** Null where there are no numbers. */
    static Spread of(io.moe4j.checkpoint.Spread spread) {
      return spread.count() > spread.nans() ? new Spread(spread.min(), spread.max()) : null;
    }

    static String text(Spread spread) {
      if (spread == null) {
        return "-";
      }
      return spread.min == spread.max
          ? number(spread.min)
          : number(spread.min) + " to " + number(spread.max);
    }
  }

  /** A finding; {@code layer} is null for the checkpoint as a whole. */
  record Problem(Integer layer, Finding.Severity severity, String subject, String message) {
    static Problem of(Integer layer, Finding finding) {
      return new Problem(layer, finding.severity(), finding.subject(), finding.message());
    }
  }

  static InspectReport of(
      MoeCheckpoint checkpoint, Path folder, List<Layer> layers, List<Problem> findings) {
    return new InspectReport(
        folder.toString(),
        checkpoint.family(),
        checkpoint.config().quantization().map(Quantization::of).orElse(null),
        layers,
        findings);
  }

  /** Whether nothing keeps a layer from computing what it should. */
  @JsonProperty
  boolean sound() {
    return findings.stream().noneMatch(f -> f.severity() == Finding.Severity.ERROR);
  }

  @Override
  public void print(PrintWriter out) {
    out.printf(
        "%s: %s, %s, %d %s with experts%n",
        checkpoint,
        family,
        quantization == null ? "no declared quantization" : quantization,
        layers.size(),
        layers.size() == 1 ? "layer" : "layers");
    TextTable table =
        new TextTable()
            .number("layer")
            .text("projection")
            .text("shape")
            .text("format")
            .text("tensor scale")
            .text("block scale")
            .number("weight rms");
    for (Layer layer : layers) {
      print(layer, out);
      for (Projection p : layer.projections()) {
        table.row(
            Integer.toString(layer.layer()),
            p.name(),
            p.experts() + " x [" + p.rows() + ", " + p.columns() + "]",
            p.format().toString(),
            Spread.text(p.tensorScales()),
            Spread.text(p.blockScales()),
            number(p.sampledRms()));
      }
    }
    table.print(out, "");
    for (Problem finding : findings) {
      out.printf(
          "%s: %s%s: %s%n",
          finding.severity().name().toLowerCase(Locale.ROOT),
          finding.layer() == null ? "" : "layer " + finding.layer() + ": ",
          finding.subject(),
          finding.message());
    }
    out.println(sound() ? "nothing is wrong" : "this checkpoint has errors");
  }

  private static void print(Layer layer, PrintWriter out) {
    if (layer.routed() == null) {
      return;
    }
    Experts experts = layer.routed();
    out.printf(
        "layer %d: H = %d, I = %d, %d experts, top %d, %s weights, %s routing%s; activations: %s%n",
        layer.layer(),
        experts.hiddenSize(),
        experts.intermediateSize(),
        experts.numExperts(),
        experts.topK(),
        experts.weightFormat(),
        layer.routing().method(),
        layer.shared() == null
            ? ""
            : ", shared experts of I = " + layer.shared().intermediateSize(),
        layer.activationFormats().stream().map(QuantFormat::name).collect(joining(", ")));
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, "%.3g", value);
  }
}
