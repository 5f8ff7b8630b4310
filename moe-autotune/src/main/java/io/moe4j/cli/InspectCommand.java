package io.moe4j.cli;

import io.moe4j.checkpoint.Finding;
import io.moe4j.checkpoint.LayerReport;
import io.moe4j.checkpoint.MoeCheckpoint;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Says what a checkpoint's Mixture-of-Experts layers are, and what is wrong with them. */
@Command(
    name = "inspect",
    description = {
      "Say what a checkpoint's Mixture-of-Experts layers are: shapes, formats, spread of the "
          + "scales, and what is wrong. Reads all scales and a sample of the weights.",
      "Fails where a layer does not load or would compute garbage.",
      ""
    })
final class InspectCommand implements Callable<Integer> {
  @Mixin private OutputOptions output;

  @Option(
      names = "--checkpoint",
      required = true,
      paramLabel = "DIR",
      description = "Folder of a model: config.json and safetensors files.")
  private Path folder;

  @Override
  public Integer call() {
    try (MoeCheckpoint checkpoint = MoeCheckpoint.open(folder)) {
      List<InspectReport.Layer> layers = new ArrayList<>();
      List<InspectReport.Problem> problems = new ArrayList<>();
      for (Finding finding : checkpoint.findings()) {
        problems.add(InspectReport.Problem.of(null, finding));
      }
      for (int layer : checkpoint.layers()) {
        LayerReport report = checkpoint.inspect(layer);
        layers.add(InspectReport.Layer.of(report));
        for (Finding finding : report.findings()) {
          problems.add(InspectReport.Problem.of(layer, finding));
        }
      }
      InspectReport report = InspectReport.of(checkpoint, folder, layers, problems);
      output.print(report);
      return report.sound() ? ExitCode.OK : ExitCode.SOFTWARE;
    }
  }
}
