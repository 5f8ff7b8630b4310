package io.moe4j.tests.gpu;

import io.moe4j.tests.fixtures.TestDevice;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Tests that run where the tests' device is a CUDA device, and are reported as skipped elsewhere.
 */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(OnCuda.Condition.class)
@interface OnCuda {

  /** Asks for the name alone: a GPU that is named and does not open is a failure. */
  final class Condition implements ExecutionCondition {
    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      if (TestDevice.isNamedCuda()) {
        return ConditionEvaluationResult.enabled("a CUDA device");
      }
      String reason =
          "NOT TESTED: %s needs a GPU (-Dmoe4j.tests.device=cuda:0)"
              .formatted(context.getDisplayName());
      System.out.println(reason);
      return ConditionEvaluationResult.disabled(reason);
    }
  }
}
