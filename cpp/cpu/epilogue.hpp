// What happens to the sums of a panel: scales, biases, the activation, and where results go.
#pragma once

#include <cstdint>

#include "cpu/kernels.hpp"
#include "cpu/prepared_layer.hpp"

namespace moe4j {

/** One projection's epilogue: value = sum * weight_scale * token scale + bias + delta. */
struct Gemm1Epilogue {
  int32_t activation;     // moe4j_activation
  int64_t rows;           // outputs of h that exist in this panel; the rest becomes zero
  int64_t panel_outputs;  // 16 if gated, otherwise 32
  const float* bias;      // [32] in the order of the panel's rows
  const ExpertScalars* scalars;
  const float* token_scales;          // [count] x's tensor scale times the per-token scale
  const uint16_t* const* lora_delta;  // [count] BF16 row of the panel's first output, or null
  int64_t lora_up_offset;             // elements from a gate's delta to its up's
};

/** sums [count][32] -> h [count][panel_outputs]; at most kMaxGroupTokens. */
void finish_gemm1(const Kernels& kernels, const Gemm1Epilogue& epilogue, int32_t count,
                  const float* sums, float* h) noexcept;

}  // namespace moe4j
