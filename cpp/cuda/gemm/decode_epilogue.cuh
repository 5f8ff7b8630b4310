// GEMM1's epilogue in the decode kernels: scales, bias, LoRA delta, activation; and the order in
// which they keep x and h.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/gemm/activation.cuh"
#include "cuda/gemm/epilogue.cuh"

namespace moe4j::cuda {

/**
 * Where element k of a row lies in fragment order: for each 64 K, lane t's 16 elements of mma.cuh's
 * b[0], b[1] in a row.
 */
__device__ __forceinline__ int32_t fragment_offset(int32_t k) {
  const int32_t in_step = k & 15;
  const int32_t lane = (in_step & 7) >> 1;
  return (k & ~63) + lane * 16 + ((k & 63) >> 4) * 4 + (in_step >> 3) * 2 + (in_step & 1);
}

/**
 * Rows g and g + 8 of one strip of one expert. Made before the product is known, so that what it
 * loads has arrived by then.
 */
class DecodeStrip {
 public:
  __device__ __forceinline__ DecodeStrip(const DecodeLayer& layer, int32_t expert, int32_t strip,
                                         int g)
      : layer_(layer), scalars_(layer.epilogue.scalars[expert]) {
    const Epilogue& options = layer.epilogue;
    feature_ = options.gated ? strip * 8 + g : strip * kStripRows + 2 * g;
    biases_[0] = biases_[1] = 0.0f;
    if (options.bias == nullptr) return;
    const int64_t row = static_cast<int64_t>(expert) * options.features + feature_;
    if (feature_ < options.features) biases_[0] = options.bias[row];
    if (options.gated) {
      if (feature_ < options.features) biases_[1] = options.up_bias[row];
    } else if (feature_ + 1 < options.features) {
      biases_[1] = options.bias[row + 1];
    }
  }

  /**
   * Activates a token's products of rows g and g + 8, and calls put(row's begin in h, feature,
   * value) for each feature.
   */
  template <class Put>
  __device__ __forceinline__ void activate(int32_t token, int32_t slot, float first, float second,
                                           const Put& put) const {
    const Epilogue& options = layer_.epilogue;
    float scale = options.activation_scale;
    if (options.per_token_scale != nullptr) scale *= options.per_token_scale[token];
    const uint16_t* delta = nullptr;
    if (options.lora_delta != nullptr && slot < options.top_k) {  // shared experts have none
      const int64_t chosen = static_cast<int64_t>(token) * options.top_k + slot;
      delta = options.lora_delta + chosen * (options.gated ? 2 : 1) * options.features;
    }
    const int64_t row = (static_cast<int64_t>(token) * options.slots + slot) * layer_.intermediate;
    if (options.gated) {
      if (feature_ >= options.features) return;
      float gate = first * (scalars_.gate * scale) + biases_[0];
      float up = second * (scalars_.up * scale) + biases_[1];
      if (delta != nullptr) {
        gate += load_bf16(delta + feature_);
        up += load_bf16(delta + options.features + feature_);
      }
      put(row, feature_, activate_gated(options.activation, scalars_, gate, up));
      return;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t feature = feature_ + half;
      if (feature >= options.features) continue;
      float value = (half == 0 ? first : second) * (scalars_.gate * scale) + biases_[half];
      if (delta != nullptr) value += load_bf16(delta + feature);
      put(row, feature, activate_ungated(options.activation, value));
    }
  }

 private:
  const DecodeLayer& layer_;
  ExpertScalars scalars_;
  int32_t feature_;  // of strip row g
  float biases_[2];  // of strip rows g and g + 8
};

}  // namespace moe4j::cuda
