package io.moe4j.cli;

import io.moe4j.QuantFormat;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads formats of the inputs of matrix multiplications as {@code --activations} names them. */
final class ActivationFormats implements ITypeConverter<QuantFormat>, Iterable<String> {
  private static final List<String> NAMES =
      Arrays.stream(QuantFormat.values())
          .filter(QuantFormat::isForActivations)
          .map(format -> format.name().toLowerCase(Locale.ROOT))
          .toList();

  @Override
  public QuantFormat convert(String text) {
    if (!NAMES.contains(text.toLowerCase(Locale.ROOT))) {
      throw new TypeConversionException(
          "found " + text + ", expected one of " + String.join(", ", NAMES));
    }
    return QuantFormat.valueOf(text.toUpperCase(Locale.ROOT));
  }

  @Override
  public Iterator<String> iterator() {
    return NAMES.iterator();
  }
}
