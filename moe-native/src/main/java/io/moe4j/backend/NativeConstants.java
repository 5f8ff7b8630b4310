package io.moe4j.backend;

import io.moe4j.Activation;
import io.moe4j.DType;
import io.moe4j.DeviceKind;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.global.moe4j;

/** The numbers that {@code moe4j.h} has for the enums of {@code io.moe4j}. */
final class NativeConstants {
  private NativeConstants() {}

  static int of(DeviceKind kind) {
    return switch (kind) {
      case CPU -> moe4j.MOE4J_CPU;
      case CUDA -> moe4j.MOE4J_CUDA;
    };
  }

  static int of(DType dtype) {
    return switch (dtype) {
      case F32 -> moe4j.MOE4J_F32;
      case BF16 -> moe4j.MOE4J_BF16;
      case I32 -> moe4j.MOE4J_I32;
      case I16 -> moe4j.MOE4J_I16;
      case U8 -> moe4j.MOE4J_U8;
      case E4M3 -> moe4j.MOE4J_E4M3;
      case UE8M0 -> moe4j.MOE4J_UE8M0;
      case E2M1X2 -> moe4j.MOE4J_E2M1X2;
    };
  }

  static int of(QuantFormat format) {
    return switch (format) {
      case BF16 -> moe4j.MOE4J_FORMAT_BF16;
      case NVFP4 -> moe4j.MOE4J_FORMAT_NVFP4;
      case MXFP4 -> moe4j.MOE4J_FORMAT_MXFP4;
      case MXFP8 -> moe4j.MOE4J_FORMAT_MXFP8;
      case FP8_PER_TOKEN -> moe4j.MOE4J_FORMAT_FP8_PER_TOKEN;
      case INT8 -> moe4j.MOE4J_FORMAT_INT8;
    };
  }

  static int of(Activation activation) {
    return switch (activation) {
      case SWIGLU -> moe4j.MOE4J_SWIGLU;
      case GEGLU -> moe4j.MOE4J_GEGLU;
      case RELU2 -> moe4j.MOE4J_RELU2;
      case IDENTITY -> moe4j.MOE4J_IDENTITY;
      case SITU -> moe4j.MOE4J_SITU;
    };
  }

  static int of(RoutingMethod method) {
    return switch (method) {
      case DEFAULT -> moe4j.MOE4J_ROUTING_DEFAULT;
      case RENORMALIZE -> moe4j.MOE4J_ROUTING_RENORMALIZE;
      case DEEPSEEK_V3 -> moe4j.MOE4J_ROUTING_DEEPSEEK_V3;
      case LLAMA4 -> moe4j.MOE4J_ROUTING_LLAMA4;
      case RENORMALIZE_NAIVE -> moe4j.MOE4J_ROUTING_RENORMALIZE_NAIVE;
      case TOP_K -> moe4j.MOE4J_ROUTING_TOP_K;
      case SIGMOID_RENORM -> moe4j.MOE4J_ROUTING_SIGMOID_RENORM;
      case MINIMAX2 -> moe4j.MOE4J_ROUTING_MINIMAX2;
      case SIGMOID -> moe4j.MOE4J_ROUTING_SIGMOID;
      case TOP_K_SIGMOID -> moe4j.MOE4J_ROUTING_TOP_K_SIGMOID;
    };
  }

  static int of(RoutingMode mode) {
    return switch (mode) {
      case FROM_LOGITS -> moe4j.MOE4J_FROM_LOGITS;
      case PACKED -> moe4j.MOE4J_PACKED;
      case UNPACKED -> moe4j.MOE4J_UNPACKED;
    };
  }
}
