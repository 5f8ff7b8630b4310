package io.moe4j.spi;

/** A back end's place for the arguments of one launch, confined to one thread at a time. */
public interface LaunchArguments extends AutoCloseable {

  /** Frees it; called once. Must not throw. */
  @Override
  void close();
}
