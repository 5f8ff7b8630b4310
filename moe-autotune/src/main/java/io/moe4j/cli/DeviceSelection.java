package io.moe4j.cli;

import io.moe4j.Device;
import io.moe4j.DeviceOptions;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeDevice;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Which device a command works on. */
final class DeviceSelection {
  @Option(
      names = "--device",
      paramLabel = "auto|cpu|cuda:N",
      defaultValue = "auto",
      converter = NameConverter.class,
      description = {
        "Where to run; cuda:N never falls back.",
        "auto: the first CUDA device, or the CPU where there is none (default)."
      })
  private String name;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      converter = ThreadsConverter.class,
      description = "Most threads of the CPU device; 0 for all processors (default).")
  private int threads;

  /** Opens the device, to be closed by the caller; a fallback is noted on standard error. */
  MoeDevice open(OutputOptions output) {
    MoeDevice device = MoeDevice.open(name, DeviceOptions.DEFAULT.withThreads(threads));
    device.fallbackReason().ifPresent(reason -> output.note("running on the CPU: " + reason));
    return device;
  }

  /** Accepts what {@link MoeDevice#open} does. */
  static final class NameConverter implements ITypeConverter<String> {
    @Override
    public String convert(String text) {
      if (!text.equals("auto")) {
        try {
          Device.parse(text);
        } catch (InvalidArgumentException e) {
          throw new TypeConversionException(
              "found \"" + text + "\", expected \"auto\", \"cpu\" or \"cuda:N\"");
        }
      }
      return text;
    }
  }

  /** Accepts numbers from 0. */
  static final class ThreadsConverter implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (!text.matches("[0-9]{1,4}")) {
        throw new TypeConversionException("found \"" + text + "\", expected 0 to 9999");
      }
      return Integer.valueOf(text);
    }
  }
}
