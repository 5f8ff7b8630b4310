package io.moe4j.autotune.profile;

import com.google.common.collect.ImmutableList;
import io.moe4j.TensorSpec;
import java.util.Optional;
import java.util.function.ToLongFunction;

/**
 * A dimension that follows from the others, so that it belongs to no key.
 *
 * @param axis the dimension
 * @param infer its size, from the shapes of all inputs with the dynamic sizes already in place
 */
public record ShapeConstraint(
    Axis axis, ToLongFunction<ImmutableList<Optional<TensorSpec>>> infer) {}
