#include "cpu/epilogue.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/bf16.hpp"
#include "support/layer_desc.hpp"

namespace moe4j {
namespace {

constexpr float kInverseSqrt2 = 0.70710678118654752f;

float geglu(float g, float u, float limit) {
  g = g > limit ? limit : g;
  u = u > limit ? limit : (u < -limit ? -limit : u);
  return 0.5f * g * (1.0f + std::erf(g * kInverseSqrt2)) * u;
}

float situ(float g, float u, float alpha, float beta) {
  const float sigmoid = 1.0f / (1.0f + std::exp(-g));
  return beta * std::tanh(u / beta) * alpha * std::tanh(g / alpha) * sigmoid;
}

float relu2(float g) { return g < 0 ? 0.0f : g * g; }

void activate(const Kernels& kernels, int32_t activation, const ExpertScalars& scalars,
              int64_t count, const float* gate, const float* up, float* h) {
  switch (activation) {
    case MOE4J_SWIGLU:
      kernels.swiglu(count, gate, up, scalars.alpha, scalars.beta, scalars.limit, h);
      break;
    case MOE4J_GEGLU:
      for (int64_t i = 0; i < count; ++i) h[i] = geglu(gate[i], up[i], scalars.limit);
      break;
    case MOE4J_SITU:
      for (int64_t i = 0; i < count; ++i) h[i] = situ(gate[i], up[i], scalars.alpha, scalars.beta);
      break;
    case MOE4J_RELU2:
      for (int64_t i = 0; i < count; ++i) h[i] = relu2(gate[i]);
      break;
    default:
      std::copy_n(gate, count, h);
  }
}

/** One projection of a group: [count][kOutputs] from columns [column, column + kOutputs) of sums.
 */
template <int64_t kOutputs>
void finish_projection(const Gemm1Epilogue& epilogue, int32_t count, const float* sums,
                       int64_t column, float weight_scale, int64_t lora_offset, float* values) {
  for (int32_t t = 0; t < count; ++t) {
    const float* row = sums + t * kPanelRows + column;
    const float* bias = epilogue.bias + column;
    const float token_scale = epilogue.token_scales[t];
    float value[kOutputs];
    for (int64_t i = 0; i < kOutputs; ++i) value[i] = row[i] * weight_scale * token_scale + bias[i];
    if (const uint16_t* delta = epilogue.lora_delta[t]; delta != nullptr) {
      for (int64_t i = 0; i < epilogue.rows; ++i) value[i] += bf16_to_f32(delta[lora_offset + i]);
    }
    std::memcpy(values + t * kOutputs, value, sizeof(value));
  }
}

}  // namespace

void finish_gemm1(const Kernels& kernels, const Gemm1Epilogue& epilogue, int32_t count,
                  const float* sums, float* h) noexcept {
  const int64_t outputs = epilogue.panel_outputs;
  const ExpertScalars& scalars = *epilogue.scalars;
  float gate[kMaxGroupTokens * kPanelRows];
  float up[kMaxGroupTokens * kGatedPanelRows];
  if (has_gate(epilogue.activation)) {
    finish_projection<kGatedPanelRows>(epilogue, count, sums, 0, scalars.gate_scale, 0, gate);
    finish_projection<kGatedPanelRows>(epilogue, count, sums, kGatedPanelRows, scalars.up_scale,
                                       epilogue.lora_up_offset, up);
  } else {
    finish_projection<kPanelRows>(epilogue, count, sums, 0, scalars.gate_scale, 0, gate);
  }
  activate(kernels, epilogue.activation, scalars, count * outputs, gate, up, h);
  for (int32_t t = 0; t < count && epilogue.rows < outputs; ++t) {
    std::fill(h + t * outputs + epilogue.rows, h + (t + 1) * outputs, 0.0f);
  }
}

}  // namespace moe4j
