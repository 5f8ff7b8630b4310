package io.moe4j.cli;

import com.google.common.collect.Iterables;
import io.moe4j.DType;
import io.moe4j.MoeDevice;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.Tactic;
import io.moe4j.autotune.Autotuner;
import io.moe4j.autotune.Coverage;
import io.moe4j.autotune.TunerOptions;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.checkpoint.MoeCheckpointLayer;
import io.moe4j.checkpoint.SafetensorsDType;
import io.moe4j.checkpoint.SafetensorsWriter;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Runs one Mixture-of-Experts block of a checkpoint on hidden states from a file. */
@Command(
    name = "run",
    description = {
      "Run a Mixture-of-Experts block of a checkpoint, shared experts included.",
      "",
      "IN holds hidden_states [T, H], BF16 or F32; the router sees F32 as it is, the experts see it"
          + " rounded to BF16, whatever the format of the activations. For routing it may hold"
          + " router_logits [T, E], or topk_ids I32 [T, k] with topk_weights [T, k]; without them"
          + " the checkpoint's router is applied.",
      "OUT holds output [T, H], topk_ids I32 [T, k] and topk_weights F32 [T, k]; it appears "
          + "complete or not at all.",
      ""
    })
final class RunCommand implements Runnable {
  @Spec private CommandSpec command;
  @Mixin private OutputOptions output;
  @Mixin private LayerSelection layerSelection;
  @Mixin private DeviceSelection deviceSelection;
  @Mixin private CacheSelection cacheSelection;

  @Option(
      names = "--input",
      required = true,
      paramLabel = "IN.safetensors",
      description = "Hidden states, and routing where it is given.")
  private Path inputPath;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "OUT.safetensors",
      description = "Where the result goes.")
  private Path outputPath;

  @Option(
      names = "--activations",
      paramLabel = "FORMAT",
      defaultValue = "bf16",
      converter = ActivationFormats.class,
      completionCandidates = ActivationFormats.class,
      description = {
        "Format of the inputs of the matrix multiplications (default: bf16, exact products).",
        "One of ${COMPLETION-CANDIDATES}.",
        "nvfp4 takes the checkpoint's input scales, the larger of gate's and up's. Shared experts "
            + "with BF16 weights stay in bf16."
      })
  private QuantFormat activations;

  @Option(
      names = "--tactic",
      paramLabel = "NAME",
      description = "How to run the routed experts (default: as tuned, see tune).")
  private String tacticName;

  /** What {@code --output-dtype} accepts. */
  enum OutputDType {
    BF16(DType.BF16),
    F32(DType.F32);

    private final DType dtype;

    OutputDType(DType dtype) {
      this.dtype = dtype;
    }
  }

  @Option(
      names = "--output-dtype",
      paramLabel = "bf16|f32",
      defaultValue = "bf16",
      description = "Type of the output (default: bf16).")
  private OutputDType outputDtype;

  /**
   * What was run, where and how.
   *
   * @param sharedWeightFormat null where the block has no shared experts
   * @param fallbackReason why "auto" became the CPU; null if it did not
   * @param tacticSource "given", or where the tuner found it
   */
  record RunReport(
      String checkpoint,
      String family,
      int layer,
      int hiddenSize,
      int intermediateSize,
      int numExperts,
      int topK,
      QuantFormat weightFormat,
      QuantFormat activationFormat,
      QuantFormat sharedWeightFormat,
      String device,
      String deviceModel,
      String fallbackReason,
      long tokens,
      String routing,
      RoutingMethod routingMethod,
      String tactic,
      String tacticSource,
      double prepareSeconds,
      double runSeconds,
      String output)
      implements OutputOptions.Report {

    @Override
    public void print(PrintWriter out) {
      out.printf(
          "layer %d of %s: %d experts, top %d, H = %d, I = %d, %s weights, %s activations%n",
          layer,
          family,
          numExperts,
          topK,
          hiddenSize,
          intermediateSize,
          weightFormat,
          activationFormat);
      if (sharedWeightFormat != null) {
        out.println("shared    " + sharedWeightFormat + " weights, added to the routed experts'");
      }
      out.println("device    " + device + ", " + deviceModel);
      out.println("routing   " + routing);
      out.println("tactic    " + tactic + " (" + tacticSource + ")");
      out.println("prepared  in " + Units.seconds(prepareSeconds));
      out.println("ran       " + Units.tokens(tokens) + " in " + Units.seconds(runSeconds));
      out.println("wrote     " + output);
    }
  }

  @Override
  public void run() {
    Folders.check("--output", outputPath);
    try (MoeCheckpoint checkpoint = layerSelection.open()) {
      MoeCheckpointLayer layer = layerSelection.layer(checkpoint);
      BlockInput input = BlockInput.read(inputPath, layer.routedExperts().spec());
      try (MoeDevice device = deviceSelection.open(output)) {
        output.print(run(device, checkpoint, layer, input));
      }
    }
  }

  private RunReport run(
      MoeDevice device, MoeCheckpoint checkpoint, MoeCheckpointLayer layer, BlockInput input) {
    Autotuner tuner =
        Autotuner.create(TunerOptions.builder().cacheDirectory(cacheSelection.folder()).build());
    long start = System.nanoTime();
    try (PreparedBlock block = PreparedBlock.prepare(device, layer, activations, tuner);
        BlockRun run = BlockRun.bind(block, input, outputDtype.dtype)) {
      Tactic tactic = tactic(block, run);
      long prepared = System.nanoTime();
      run.run(tactic);
      long ran = System.nanoTime();
      write(run);
      MoeSpec spec = block.routed().spec();
      return new RunReport(
          checkpoint.tensors().source().toString(),
          checkpoint.family(),
          layer.index(),
          spec.hiddenSize(),
          spec.intermediateSize(),
          spec.numExperts(),
          spec.topK(),
          spec.weightFormat(),
          spec.activationFormat(),
          block.shared().map(shared -> shared.spec().weightFormat()).orElse(null),
          device.device().toString(),
          device.info().model(),
          device.fallbackReason().orElse(null),
          input.tokens(),
          input.routingSource(),
          spec.routing().method(),
          tactic.name(),
          tacticSource(tuner, block, run),
          (prepared - start) / 1e9,
          (ran - prepared) / 1e9,
          outputPath.toString());
    }
  }

  private Tactic tactic(PreparedBlock block, BlockRun run) {
    if (tacticName == null) {
      return run.selectedTactic();
    }
    List<Tactic> valid = block.routed().tactics(run.tokens());
    return valid.stream()
        .filter(tactic -> tactic.name().equals(tacticName))
        .findFirst()
        .orElseThrow(
            () ->
                new ParameterException(
                    command.commandLine(),
                    "--tactic: found "
                        + tacticName
                        + ", expected one of "
                        + valid.stream().map(Tactic::name).collect(Collectors.joining(", "))));
  }

  private String tacticSource(Autotuner tuner, PreparedBlock block, BlockRun run) {
    if (tacticName != null) {
      return "given";
    }
    // A run without tokens takes the tactic for one.
    Coverage coverage = tuner.coverage(block.routed(), run.kind(), Math.max(run.tokens(), 1));
    return Iterables.getOnlyElement(coverage.shapes())
        .selection()
        .source()
        .name()
        .toLowerCase(Locale.ROOT);
  }

  private void write(BlockRun run) {
    HostTensor result = run.output();
    HostTensor ids = run.topkIds();
    HostTensor weights = run.topkWeights();
    SafetensorsWriter.Builder file = SafetensorsWriter.to(outputPath);
    declare(file, "output", result);
    declare(file, BlockInput.TOPK_IDS, ids);
    declare(file, BlockInput.TOPK_WEIGHTS, weights);
    try (SafetensorsWriter writer = file.open()) {
      writer.write("output", result.view());
      writer.write(BlockInput.TOPK_IDS, ids.view());
      writer.write(BlockInput.TOPK_WEIGHTS, weights.view());
      writer.commit();
    }
  }

  private static void declare(SafetensorsWriter.Builder file, String name, HostTensor tensor) {
    file.tensor(name, SafetensorsDType.of(tensor.spec().dtype()), tensor.spec().shape().toArray());
  }
}
