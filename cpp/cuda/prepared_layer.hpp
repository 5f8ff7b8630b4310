// The weights of a layer as kernels read them, in device memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "cuda/arguments.hpp"
#include "cuda/device_buffer.hpp"
#include "moe4j/moe4j.h"
#include "support/layer_desc.hpp"
#include "support/status.hpp"

namespace moe4j::cuda {

class PreparedLayer {
 public:
  /**
   * Allocates for all experts; the device must be current, here and in all other calls.
   * `wants_fp8`: seal() shall pack the weights for FP8 kernels, if they are exact there.
   */
  Status create(const moe4j_layer_desc& desc, bool wants_fp8) noexcept;
  ~PreparedLayer();

  /**
   * Copies one expert to the device, checks and repacks it there, and waits until that is done. The
   * host never holds a second copy, the device one expert's. Calls from several threads take turns.
   */
  Status set_expert(int32_t local_expert, const moe4j_expert_weights& weights) noexcept;

  /** Frees what only set_expert() needs; an error if an expert is missing. */
  Status seal() noexcept;

  bool sealed() const noexcept { return sealed_; }
  /** Whether the weights are packed for FP8 kernels, and for no others. */
  bool is_fp8() const noexcept { return is_fp8_; }
  int64_t bytes() const noexcept;
  const moe4j_layer_desc& desc() const noexcept { return desc_; }
  int32_t experts() const noexcept { return num_held_experts(desc_); }

  WeightLayout gate_up_layout() const noexcept { return gate_up_layout_; }
  WeightLayout down_layout() const noexcept { return down_layout_; }
  const uint8_t* gate_up() const noexcept { return gate_up_.as(); }
  const uint8_t* down() const noexcept { return down_.as(); }
  const ExpertScalars* scalars() const noexcept { return scalars_.as<ExpertScalars>(); }
  /** Of FP8 weights: [experts, row_blocks * kTileRows], a power of two for each row. */
  const float* gate_up_row_scales() const noexcept { return gate_up_row_scales_.as<float>(); }
  const float* down_row_scales() const noexcept { return down_row_scales_.as<float>(); }
  /** [experts, I], [experts, I], [experts, H]; NULL where no expert has any. */
  const float* gate_bias() const noexcept { return gate_bias_.as<float>(); }
  const float* up_bias() const noexcept { return up_bias_.as<float>(); }
  const float* down_bias() const noexcept { return down_bias_.as<float>(); }

 private:
  struct Staged;
  Status stage(const moe4j_expert_weights& weights, Staged* staged) noexcept;
  Status pack_fp8() noexcept;
  Status set_biases(int32_t expert, const moe4j_expert_weights& weights) noexcept;
  Status set_bias(int32_t expert, const moe4j_matrix& matrix, int32_t rows,
                  DeviceBuffer& buffer) noexcept;

  moe4j_layer_desc desc_ = {};
  bool gated_ = false;
  bool wants_fp8_ = false;
  std::atomic<bool> sealed_{false};
  bool is_fp8_ = false;  // written before sealed_
  WeightLayout gate_up_layout_ = {};
  WeightLayout down_layout_ = {};
  DeviceBuffer gate_up_;
  DeviceBuffer down_;
  DeviceBuffer scalars_;
  DeviceBuffer gate_up_row_scales_;
  DeviceBuffer down_row_scales_;
  DeviceBuffer gate_bias_;
  DeviceBuffer up_bias_;
  DeviceBuffer down_bias_;

  std::mutex mutex_;  // of everything below, and of writes to the above
  DeviceBuffer staging_;
  DeviceBuffer surveys_;
  std::vector<bool> is_set_;
  std::vector<float> host_bias_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace moe4j::cuda
