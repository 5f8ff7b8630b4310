// A small valid layer with everything that a launch needs, for tests that then spoil one thing.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "moe4j/moe4j.h"

namespace moe4j::test {

/** T = 3 tokens, H = 64, I = 32, E = 4 NVFP4 experts, k = 2, SwiGLU, on the CPU. */
class TinyLayer : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 3;
  static constexpr int32_t kHidden = 64;
  static constexpr int32_t kIntermediate = 32;
  static constexpr int32_t kExperts = 4;
  static constexpr int32_t kTopK = 2;

  void SetUp() override {
    ASSERT_EQ(moe4j_device_open(MOE4J_CPU, 0, 2, nullptr, &device), MOE4J_OK) << moe4j_last_error();
    ASSERT_EQ(moe4j_layer_create(device, &desc, &layer), MOE4J_OK) << moe4j_last_error();
    for (int32_t e = 0; e < kExperts; ++e) {
      ASSERT_EQ(moe4j_layer_set_expert(layer, e, &weights), MOE4J_OK) << moe4j_last_error();
    }
    ASSERT_EQ(moe4j_layer_seal(layer), MOE4J_OK) << moe4j_last_error();
    int32_t count = 0;
    ASSERT_EQ(moe4j_layer_tactics(layer, kTokens, &args.tactic, 1, &count), MOE4J_OK);
    ASSERT_GE(count, 1);
    ASSERT_EQ(moe4j_workspace_bytes(layer, args.tactic, kTokens, &args.workspace_bytes), MOE4J_OK);
    ASSERT_EQ(moe4j_allocate(device, args.workspace_bytes, &args.workspace), MOE4J_OK);
  }

  void TearDown() override {
    moe4j_layer_destroy(layer);
    EXPECT_EQ(moe4j_free(device, args.workspace), MOE4J_OK) << moe4j_last_error();
    EXPECT_EQ(moe4j_device_close(device), MOE4J_OK) << moe4j_last_error();
  }

  static moe4j_layer_desc make_desc() {
    moe4j_layer_desc desc{};
    desc.weight_format = MOE4J_FORMAT_NVFP4;
    desc.activation_format = MOE4J_FORMAT_BF16;
    desc.hidden_size = kHidden;
    desc.intermediate_size = kIntermediate;
    desc.num_experts = desc.local_num_experts = kExperts;
    desc.top_k = kTopK;
    desc.activation = MOE4J_SWIGLU;
    desc.routing_method = MOE4J_ROUTING_RENORMALIZE;
    desc.routed_scaling_factor = 1;
    return desc;
  }

  moe4j_matrix make_matrix(int32_t k) const {
    moe4j_matrix matrix{};
    matrix.codes = codes.data();
    matrix.row_stride = k / 2;
    matrix.scales = scales.data();
    matrix.scale_row_stride = k / 16;
    matrix.tensor_scale = 0.5f;
    matrix.bias_stride = 1;
    return matrix;
  }

  moe4j_expert_weights make_weights() const {
    moe4j_expert_weights weights{};
    weights.gate = weights.up = make_matrix(kHidden);
    weights.down = make_matrix(kIntermediate);
    weights.input_scale = weights.intermediate_scale = 1;
    weights.alpha = 1;
    weights.limit = std::numeric_limits<float>::infinity();
    return weights;
  }

  moe4j_launch_args make_args() {
    moe4j_launch_args args{};
    args.tokens = kTokens;
    args.routing_mode = MOE4J_FROM_LOGITS;
    args.routing_logits_dtype = MOE4J_F32;
    args.routing_logits = logits.data();
    args.hidden_states_format = MOE4J_FORMAT_BF16;
    args.hidden_states = hidden_states.data();
    args.hidden_states_tensor_scale = 1;
    args.output_dtype = MOE4J_F32;
    args.output = output.data();
    args.do_finalize = 1;
    return args;
  }

  std::vector<uint8_t> codes = std::vector<uint8_t>(kHidden * kIntermediate / 2, 0x2B);
  std::vector<uint8_t> scales = std::vector<uint8_t>(kHidden * kIntermediate / 16, 0x38);
  std::vector<float> logits = {0, 1, 2, 3, 3, 2, 1, 0, 1, 0, 1, 0};
  std::vector<uint16_t> hidden_states = std::vector<uint16_t>(kTokens * kHidden, 0x3F80);
  std::vector<float> output = std::vector<float>(kTokens * kHidden);

  moe4j_layer_desc desc = make_desc();
  moe4j_expert_weights weights = make_weights();
  moe4j_launch_args args = make_args();
  moe4j_device* device = nullptr;
  moe4j_layer* layer = nullptr;
};

}  // namespace moe4j::test
