package io.moe4j.tests.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.MoeCall;
import io.moe4j.Routing;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.tests.fixtures.SourceCompiler;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Wherever a launch takes a tensor, a shape without storage does not compile. */
class StorageTest {
  @TempDir Path classes;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HiddenStates.bf16(t)",
        "new HiddenStates(QuantFormat.BF16, t, Optional.empty(), 1f)",
        "HiddenStates.nvfp4(t, t, 1f)",
        "HiddenStates.mxfp8(t, t)",
        "new Routing.FromLogits(t)",
        "new Routing.FromLogits(t, Optional.of(t))",
        "new Routing.Packed(t)",
        "new Routing.Unpacked(t, t)",
        "new MoeOutput.Finalized(t)",
        "new MoeOutput.Finalized(t, Optional.of(t))",
        "new MoeOutput.Permuted(t, t, t)",
        "call.withPerTokenScale(t)",
        "call.withGemm1LoraDelta(t)",
        "call.withRoutingReplay(t)",
        "call.withTopk(t, t)",
        "new Router(t, Optional.empty())"
      })
  void onlyTensorsCompile(String expression) {
    assertEquals(List.of(), errors("Tensor", expression));
    List<String> errors = errors("TensorSpec", expression);
    assertTrue(
        errors.stream().anyMatch(error -> error.contains("TensorSpec")),
        () -> "a TensorSpec passed for a Tensor, errors: " + errors);
  }

  /** Whatever a call is made of, down to its leaves, has tensors and no shapes. */
  @Test
  void aCallHasNoPlaceForAShape() {
    Set<Class<?>> seen = new HashSet<>();
    collect(MoeCall.class, seen);
    assertTrue(seen.contains(Tensor.class), seen::toString);
    assertTrue(seen.contains(Routing.Packed.class), seen::toString);
    assertFalse(seen.contains(TensorSpec.class), seen::toString);
  }

  /** Adds a type with what its values are made of; a tensor is a leaf. */
  private static void collect(Type type, Set<Class<?>> seen) {
    if (type instanceof ParameterizedType generic) {
      Arrays.stream(generic.getActualTypeArguments()).forEach(part -> collect(part, seen));
    } else if (type instanceof Class<?> raw && seen.add(raw) && raw != Tensor.class) {
      if (raw.isRecord()) {
        Arrays.stream(raw.getRecordComponents())
            .forEach(component -> collect(component.getGenericType(), seen));
      }
      if (raw.isSealed()) {
        Arrays.stream(raw.getPermittedSubclasses()).forEach(kind -> collect(kind, seen));
      }
    }
  }

  private List<String> errors(String type, String expression) {
    return SourceCompiler.errors(
        "Probe",
        """
        import io.moe4j.*;
        import java.util.Optional;

        class Probe {
          static Object probe(MoeCall call, %s t) {
            return %s;
          }
        }
        """
            .formatted(type, expression),
        classes);
  }
}
