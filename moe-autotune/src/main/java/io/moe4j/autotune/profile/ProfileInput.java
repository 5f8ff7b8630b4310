package io.moe4j.autotune.profile;

import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import java.util.Optional;

/** How one input of an operation comes into its profiles. */
public sealed interface ProfileInput {

  /** Its type and shape as called; empty for an input that is not there. */
  Optional<TensorSpec> spec();

  /** An optional input that this call does not have; profiles do not have it either. */
  record Absent() implements ProfileInput {
    @Override
    public Optional<TensorSpec> spec() {
      return Optional.empty();
    }
  }

  /**
   * An input whose shape no dynamic size changes: profiles use the caller's own tensor.
   *
   * @param tensor borrowed
   */
  record Shared(Tensor tensor) implements ProfileInput {
    @Override
    public Optional<TensorSpec> spec() {
      return Optional.of(tensor.spec());
    }
  }

  /**
   * An input that is made anew for each profile.
   *
   * @param template its type, and its shape as called
   * @param initializer makes its contents
   * @param bySkew whether its contents depend on the routing's distribution
   */
  record Synthesized(TensorSpec template, TensorInitializer initializer, boolean bySkew)
      implements ProfileInput {
    @Override
    public Optional<TensorSpec> spec() {
      return Optional.of(template);
    }
  }
}
