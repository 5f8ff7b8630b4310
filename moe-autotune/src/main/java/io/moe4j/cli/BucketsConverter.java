package io.moe4j.cli;

import io.moe4j.InvalidArgumentException;
import io.moe4j.autotune.profile.TokenBuckets;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads what {@link TokenBuckets#parse} does. */
final class BucketsConverter implements ITypeConverter<TokenBuckets> {
  @Override
  public TokenBuckets convert(String text) {
    try {
      return TokenBuckets.parse(text);
    } catch (InvalidArgumentException e) {
      throw new TypeConversionException(e.getMessage());
    }
  }
}
