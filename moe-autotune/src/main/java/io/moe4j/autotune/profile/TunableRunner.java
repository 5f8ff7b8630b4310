package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableList;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import java.util.List;
import java.util.Optional;

/**
 * One implementation of an operation, with the tactics that it offers. Its name, and never its
 * place in a list, identifies it in caches and plans.
 */
public interface TunableRunner {

  /** Stable name, unique among the runners of an operation. */
  String name();

  /**
   * Tactics that can run inputs of these shapes. The first one is the default, which can run every
   * shape; a runner without any tactic for these shapes sits them out.
   */
  List<Tactic> tactics(ImmutableList<Optional<TensorSpec>> shapes);

  /**
   * Does what is done once and belongs to no time: scratch memory, argument blocks.
   *
   * @param inputs the inputs of each launch that will be timed; they outlive what is returned
   */
  Prepared prepare(ImmutableList<ImmutableList<Optional<Tensor>>> inputs);

  /** A runner made ready for certain inputs. Confined to one thread. */
  interface Prepared extends AutoCloseable {

    /**
     * Launches exactly what production launches.
     *
     * @param index which of the inputs
     */
    void launch(int index, Tactic tactic, Stream stream);

    /** Frees what preparation made; called once. Must not throw. */
    @Override
    void close();
  }
}
