// The layers that every figure of the project is measured on.
#pragma once

#include <cstdint>
#include <string>

#include "moe4j/moe4j.h"

namespace moe4j::bench {

struct LayerCase {
  const char* name;
  int32_t weight_format;
  int32_t hidden_size;
  int32_t intermediate_size;
  int32_t num_experts;
  int32_t top_k;
  bool gpt_oss;         // biases on all projections, alpha 1.702, beta 1, limit 7
  int32_t n_group = 0;  // of DeepSeekV3's routing, where it is that
  int32_t topk_group = 0;
};

inline constexpr LayerCase kLayers[] = {
    {"gpt-oss-20b", MOE4J_FORMAT_MXFP4, 2880, 2880, 32, 4, true},
    {"gpt-oss-120b", MOE4J_FORMAT_MXFP4, 2880, 2880, 128, 4, true},
    {"Qwen3-30B-A3B", MOE4J_FORMAT_NVFP4, 2048, 768, 128, 8, false},
    {"Qwen3-235B-A22B", MOE4J_FORMAT_NVFP4, 4096, 1536, 128, 8, false},
    {"DeepSeek-V3", MOE4J_FORMAT_NVFP4, 7168, 2048, 256, 8, false, 8, 4},
    {"Kimi-K2", MOE4J_FORMAT_NVFP4, 7168, 2048, 384, 8, false, 1, 1},
    {"Llama-4-Maverick", MOE4J_FORMAT_NVFP4, 5120, 8192, 128, 1, false},
    {"Mixtral-8x7B", MOE4J_FORMAT_NVFP4, 4096, 14336, 8, 2, false},
};

inline const char* format_name(int32_t format) {
  return format == MOE4J_FORMAT_NVFP4 ? "nvfp4" : format == MOE4J_FORMAT_MXFP4 ? "mxfp4" : "bf16";
}

/** Elements of a weight that share a scale. */
inline int64_t block_of(int32_t format) { return format == MOE4J_FORMAT_NVFP4 ? 16 : 32; }

/** Bytes of one expert's codes and block scales in a checkpoint. */
inline double expert_bytes(const LayerCase& layer) {
  const double weights = 3.0 * layer.hidden_size * layer.intermediate_size;
  return weights * (0.5 + 1.0 / static_cast<double>(block_of(layer.weight_format)));
}

/** Floating-point operations of `tokens` tokens. */
inline double layer_flops(const LayerCase& layer, int64_t tokens) {
  return 6.0 * static_cast<double>(tokens) * layer.top_k * layer.hidden_size *
         layer.intermediate_size;
}

}  // namespace moe4j::bench
