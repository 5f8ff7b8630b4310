package io.moe4j.tests.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.tests.fixtures.SourceCompiler;
import java.nio.file.Path;
import java.util.List;
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
        "HiddenStates.nvfp4(t, t, 1f)",
        "HiddenStates.mxfp8(t, t)",
        "new Routing.FromLogits(t)",
        "new Routing.FromLogits(t, Optional.of(t))",
        "new Routing.Packed(t)",
        "new Routing.Unpacked(t, t)",
        "new MoeOutput.Finalized(t)",
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
