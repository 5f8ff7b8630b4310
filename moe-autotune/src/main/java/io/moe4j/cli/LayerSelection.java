package io.moe4j.cli;

import io.moe4j.InvalidArgumentException;
import io.moe4j.checkpoint.MoeCheckpoint;
import io.moe4j.checkpoint.MoeCheckpointLayer;
import java.nio.file.Path;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;

/** Which layer of which checkpoint a command works on. */
final class LayerSelection {
  @Spec(Target.MIXEE)
  private CommandSpec command;

  @Option(
      names = "--checkpoint",
      required = true,
      paramLabel = "DIR",
      description = "Folder of a model: config.json and safetensors files.")
  private Path folder;

  @Option(
      names = "--layer",
      required = true,
      paramLabel = "N",
      description = "Number of a layer with experts, from 0.")
  private int layer;

  /** Opens the checkpoint, to be closed by the caller. */
  MoeCheckpoint open() {
    return MoeCheckpoint.open(folder);
  }

  /** The layer; another number is a wrong use of the command. */
  MoeCheckpointLayer layer(MoeCheckpoint checkpoint) {
    try {
      return checkpoint.layer(layer);
    } catch (InvalidArgumentException e) {
      throw new ParameterException(command.commandLine(), "--" + e.getMessage(), e);
    }
  }
}
