// Launches on a CUDA device in tests: inputs drawn on the host are copied to the device, outputs
// are poisoned there and copied back.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "launchers/launch.hpp"

namespace moe4j::test {

/** The first CUDA device; tests skip where there is none. */
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    int32_t count = 0;
    ASSERT_EQ(moe4j_device_count(MOE4J_CUDA, &count), MOE4J_OK) << moe4j_last_error();
    if (count == 0) GTEST_SKIP() << "NOT TESTED: " << moe4j_last_error();
    device_ = std::make_unique<Device>(Device::cuda(0));
  }

  const Device& device() const { return *device_; }

 private:
  std::unique_ptr<Device> device_;
};

inline int64_t row_bytes(int32_t format, int64_t k) {
  return format == MOE4J_FORMAT_BF16 ? 2 * k : format == MOE4J_FORMAT_NVFP4 ? k / 2 : k;
}

/** A launch's inputs in device memory, exactly as large as they must be. */
class DeviceInputs {
 public:
  DeviceInputs(const Device& device, const moe4j_layer_desc& desc, const moe4j_launch_args& host)
      : args(host), device_(device) {
    const int64_t t = host.tokens;
    const int64_t chosen = t * desc.top_k;
    const int64_t float_bytes = host.routing_logits_dtype == MOE4J_F32 ? 4 : 2;
    copy(args.routing_logits, t * desc.num_experts * float_bytes);
    copy(args.routing_bias, desc.num_experts * 4);
    copy(args.topk_packed, chosen * 4);
    copy(args.topk_ids, chosen * 4);
    copy(args.topk_weights, chosen * (host.topk_weights_dtype == MOE4J_F32 ? 4 : 2));
    copy(args.hidden_states, t * row_bytes(host.hidden_states_format, desc.hidden_size));
    copy(args.hidden_states_scale,
         host.hidden_states_format == MOE4J_FORMAT_BF16
             ? 0
             : t * desc.hidden_size / block_of(host.hidden_states_format));
    copy(args.per_token_scale, t * 4);
    const bool gated = desc.activation != MOE4J_RELU2 && desc.activation != MOE4J_IDENTITY;
    copy(args.gemm1_lora_delta, chosen * desc.intermediate_size * (gated ? 2 : 1) * 2);
    copy(args.addend, t * desc.hidden_size * 4);
  }

  moe4j_launch_args args;

 private:
  template <class T>
  void copy(const T*& pointer, int64_t bytes) {
    if (pointer == nullptr) return;
    buffers_.emplace_back(device_, reinterpret_cast<const uint8_t*>(pointer), bytes);
    pointer = buffers_.back().template as<const T>();
  }

  const Device& device_;
  std::deque<Buffer> buffers_;
};

/** Device memory that is all 0xFF before a launch, as is a guard behind it. */
class PoisonedBuffer {
 public:
  PoisonedBuffer(const Device& device, int64_t bytes)
      : bytes_(bytes), buffer_(device, bytes + kGuard) {
    poison();
  }

  /** Done on return: launches follow on streams that wait for no other. */
  void poison() const {
    EXPECT_EQ(cudaMemset(buffer_.data(), 0xFF, static_cast<size_t>(buffer_.bytes())), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  }
  void* data() const { return buffer_.data(); }

  /** The first `count` elements, or all; checks the guard. */
  template <class T>
  std::vector<T> read(int64_t count = -1) const {
    uint8_t guard[kGuard];
    EXPECT_EQ(cudaMemcpy(guard, buffer_.as<uint8_t>() + bytes_, kGuard, cudaMemcpyDeviceToHost),
              cudaSuccess);
    for (const uint8_t byte : guard) EXPECT_EQ(byte, 0xFF) << "written behind a tensor's end";
    if (count < 0) count = bytes_ / static_cast<int64_t>(sizeof(T));
    std::vector<T> values(static_cast<size_t>(count));
    buffer_.copy_to_host(values.data(), count);
    return values;
  }

 private:
  static constexpr int kGuard = 64;
  int64_t bytes_;
  Buffer buffer_;
};

/** A launch's inputs on the device, with poisoned outputs and a workspace for any tactic. */
class DeviceRun {
 public:
  DeviceRun(const Device& device, const Layer& layer, const moe4j_layer_desc& desc,
            const moe4j_launch_args& host)
      : layer_(layer),
        hidden_(desc.hidden_size),
        inputs_(device, desc, host),
        output_(device, host.tokens * desc.hidden_size * (host.output_dtype == MOE4J_F32 ? 4 : 2)),
        workspace_(device, workspace_bytes(layer, host.tokens)),
        replay_(device, host.tokens * desc.top_k * 2),
        ids_(device, host.tokens * desc.top_k * 4),
        weights_(device, host.tokens * desc.top_k * 4) {
    args.output = output_.data();
    args.workspace = workspace_.data();
    args.workspace_bytes = workspace_.bytes();
    args.routing_replay_out = static_cast<int16_t*>(replay_.data());
    args.topk_ids_out = static_cast<int32_t*>(ids_.data());
    args.topk_weights_out = static_cast<float*>(weights_.data());
  }

  /** Poisons what the launch shall write, and its workspace. */
  void poison() const {
    for (const PoisonedBuffer* buffer : {&output_, &replay_, &ids_, &weights_}) buffer->poison();
    fill_workspace(0xFF);
  }
  void fill_workspace(int byte) const {
    ASSERT_EQ(cudaMemset(workspace_.data(), byte, static_cast<size_t>(workspace_.bytes())),
              cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  }

  void launch(int32_t tactic, cudaStream_t stream = nullptr) {
    args.tactic = tactic;
    args.stream = stream;
    ASSERT_EQ(moe4j_launch(layer_.get(), &args), MOE4J_OK) << moe4j_last_error();
  }

  std::vector<uint8_t> bits() const { return output_.read<uint8_t>(); }
  std::vector<int32_t> ids() const { return ids_.read<int32_t>(); }
  std::vector<int16_t> replay() const { return replay_.read<int16_t>(); }
  std::vector<float> weights() const { return weights_.read<float>(); }

  /** The finalized output of args.tokens tokens, as it is stored. */
  std::vector<uint16_t> bf16_output() const {
    return output_.read<uint16_t>(args.tokens * hidden_);
  }

  /** The same as values. What a launch left unwritten is NaN. */
  std::vector<double> values() const {
    if (args.output_dtype == MOE4J_F32) {
      const auto floats = output_.read<float>(args.tokens * hidden_);
      return {floats.begin(), floats.end()};
    }
    std::vector<double> values;
    for (const uint16_t bits : bf16_output()) values.push_back(oracle_bf16(bits));
    return values;
  }

 private:
  static int64_t workspace_bytes(const Layer& layer, int64_t tokens) {
    int64_t most = 0;
    for (const int32_t tactic : layer.tactics(tokens)) {
      most = std::max(most, layer.workspace_bytes(tactic, tokens));
    }
    return most;
  }

  const Layer& layer_;
  int64_t hidden_;
  DeviceInputs inputs_;
  PoisonedBuffer output_;
  Buffer workspace_;
  PoisonedBuffer replay_, ids_, weights_;

 public:
  moe4j_launch_args& args = inputs_.args;
};

}  // namespace moe4j::test
