// A table of wrong calls of the C ABI: each must be refused with a message that starts with the
// name of the argument at fault, and must leave the library usable.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "api/tiny_layer.hpp"
#include "moe4j/moe4j.h"

namespace moe4j {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class HostileArguments : public test::TinyLayer {
 protected:
  static void expect_refusal(const std::string& argument, int32_t status) {
    EXPECT_EQ(status, MOE4J_INVALID_ARGUMENT) << argument;
    const std::string message = moe4j_last_error();
    EXPECT_EQ(message.substr(0, message.find(':')), argument) << message;
  }

  template <class Target>
  struct Spoiled {
    std::string argument;
    std::function<void(Target&)> spoil;
  };

  float tile_[64] = {};
  uint8_t bytes_[4096] = {};
};

TEST_F(HostileArguments, TheUnspoiledCallsSucceed) {
  EXPECT_EQ(moe4j_launch(layer, &args), MOE4J_OK) << moe4j_last_error();
  for (const float value : output) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(HostileArguments, LayerDescription) {
  using Desc = moe4j_layer_desc;
  const std::vector<Spoiled<Desc>> table = {
      {"weight_format", [](Desc& d) { d.weight_format = -1; }},
      {"weight_format", [](Desc& d) { d.weight_format = MOE4J_FORMAT_MXFP8; }},
      {"weight_format", [](Desc& d) { d.weight_format = MOE4J_FORMAT_FP8_PER_TOKEN; }},
      {"activation_format", [](Desc& d) { d.activation_format = MOE4J_FORMAT_MXFP4; }},
      {"activation_format", [](Desc& d) { d.activation_format = 77; }},
      {"activation_format",
       [](Desc& d) {
         d.weight_format = MOE4J_FORMAT_BF16;
         d.activation_format = MOE4J_FORMAT_INT8;
       }},
      {"intermediate_size",
       [](Desc& d) {
         d.intermediate_size = 48;
         d.activation_format = MOE4J_FORMAT_INT8;
       }},
      {"hidden_size", [](Desc& d) { d.hidden_size = 0; }},
      {"hidden_size", [](Desc& d) { d.hidden_size = -64; }},
      {"hidden_size", [](Desc& d) { d.hidden_size = 72; }},
      {"hidden_size",
       [](Desc& d) {
         d.hidden_size = 48;
         d.activation_format = MOE4J_FORMAT_MXFP8;
       }},
      {"hidden_size", [](Desc& d) { d.hidden_size = (1 << 24) + 64; }},
      {"intermediate_size", [](Desc& d) { d.intermediate_size = 0; }},
      {"intermediate_size", [](Desc& d) { d.intermediate_size = INT32_MIN; }},
      {"intermediate_size", [](Desc& d) { d.intermediate_size = 33; }},
      {"num_experts", [](Desc& d) { d.num_experts = 0; }},
      {"num_experts", [](Desc& d) { d.num_experts = 1025; }},
      {"top_k", [](Desc& d) { d.top_k = 0; }},
      {"top_k", [](Desc& d) { d.top_k = kExperts + 1; }},
      {"top_k", [](Desc& d) { d.routing_method = MOE4J_ROUTING_LLAMA4; }},
      {"local_num_experts", [](Desc& d) { d.local_num_experts = 0; }},
      {"local_num_experts", [](Desc& d) { d.local_num_experts = kExperts + 1; }},
      {"local_expert_offset", [](Desc& d) { d.local_expert_offset = -1; }},
      {"local_expert_offset", [](Desc& d) { d.local_expert_offset = 1; }},
      {"num_fused_shared_experts", [](Desc& d) { d.num_fused_shared_experts = -1; }},
      {"num_fused_shared_experts", [](Desc& d) { d.num_fused_shared_experts = 1; }},
      {"num_fused_shared_experts",
       [](Desc& d) {
         d.num_fused_shared_experts = 1;
         d.routing_method = MOE4J_ROUTING_DEEPSEEK_V3;
         d.local_num_experts = 2;
       }},
      {"activation", [](Desc& d) { d.activation = -1; }},
      {"activation", [](Desc& d) { d.activation = 5; }},
      {"routing_method", [](Desc& d) { d.routing_method = 10; }},
      {"n_group", [](Desc& d) { d.n_group = 2; }},
      {"n_group",
       [](Desc& d) {
         d.routing_method = MOE4J_ROUTING_DEEPSEEK_V3;
         d.n_group = 3;
       }},
      {"topk_group",
       [](Desc& d) {
         d.routing_method = MOE4J_ROUTING_DEEPSEEK_V3;
         d.n_group = 4;
         d.topk_group = 1;
       }},
      {"norm_topk_prob", [](Desc& d) { d.norm_topk_prob = -1; }},
      {"routed_scaling_factor", [](Desc& d) { d.routed_scaling_factor = 2.5f; }},
      {"routed_scaling_factor",
       [](Desc& d) {
         d.routing_method = MOE4J_ROUTING_MINIMAX2;
         d.routed_scaling_factor = kNaN;
       }},
  };
  for (const auto& row : table) {
    moe4j_layer_desc spoiled = desc;
    row.spoil(spoiled);
    moe4j_layer* none = layer;
    expect_refusal(row.argument, moe4j_layer_create(device, &spoiled, &none));
    EXPECT_EQ(none, nullptr) << "a failed creation leaves no handle behind";
  }
  moe4j_layer* none = nullptr;
  expect_refusal("device", moe4j_layer_create(nullptr, &desc, &none));
  expect_refusal("desc", moe4j_layer_create(device, nullptr, &none));
  expect_refusal("layer", moe4j_layer_create(device, &desc, nullptr));
}

TEST_F(HostileArguments, ExpertWeights) {
  using Weights = moe4j_expert_weights;
  const std::vector<Spoiled<Weights>> table = {
      {"gate.codes", [](Weights& w) { w.gate.codes = nullptr; }},
      {"up.codes", [](Weights& w) { w.up.codes = nullptr; }},
      {"down.codes", [](Weights& w) { w.down.codes = nullptr; }},
      {"gate.scales", [](Weights& w) { w.gate.scales = nullptr; }},
      {"gate.row_stride", [](Weights& w) { w.gate.row_stride = kHidden / 2 - 1; }},
      {"gate.row_stride", [](Weights& w) { w.gate.row_stride = -kHidden; }},
      {"up.row_stride", [](Weights& w) { w.up.row_stride = INT64_MAX; }},
      {"down.scale_row_stride", [](Weights& w) { w.down.scale_row_stride = 0; }},
      {"down.scale_row_stride", [](Weights& w) { w.down.scale_row_stride = INT64_MAX / 2; }},
      {"gate.tensor_scale", [](Weights& w) { w.gate.tensor_scale = kNaN; }},
      {"up.tensor_scale", [](Weights& w) { w.up.tensor_scale = kInfinity; }},
      {"gate.bias_dtype",
       [this](Weights& w) {
         w.gate.bias = tile_;
         w.gate.bias_dtype = MOE4J_I32;
       }},
      {"down.bias_stride",
       [this](Weights& w) {
         w.down.bias = tile_;
         w.down.bias_stride = 0;
       }},
      {"down.bias", [this](Weights& w) { w.down.bias = bytes_ + 1; }},
      {"alpha", [](Weights& w) { w.alpha = kNaN; }},
      {"beta", [](Weights& w) { w.beta = kInfinity; }},
      {"limit", [](Weights& w) { w.limit = 0; }},
      {"limit", [](Weights& w) { w.limit = kNaN; }},
  };
  moe4j_layer* open_layer = nullptr;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  for (const auto& row : table) {
    moe4j_expert_weights spoiled = weights;
    row.spoil(spoiled);
    expect_refusal(row.argument, moe4j_layer_set_expert(open_layer, 0, &spoiled));
  }
  expect_refusal("local_expert", moe4j_layer_set_expert(open_layer, -1, &weights));
  expect_refusal("local_expert", moe4j_layer_set_expert(open_layer, kExperts, &weights));
  expect_refusal("weights", moe4j_layer_set_expert(open_layer, 0, nullptr));
  expect_refusal("layer", moe4j_layer_set_expert(nullptr, 0, &weights));
  EXPECT_EQ(moe4j_layer_set_expert(open_layer, 0, &weights), MOE4J_OK) << moe4j_last_error();
  moe4j_layer_destroy(open_layer);
}

TEST_F(HostileArguments, ScalesThatAreNaN) {
  moe4j_layer* open_layer = nullptr;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  std::vector<uint8_t> spoiled = scales;
  spoiled[5] = 0x7F;
  moe4j_expert_weights bad = weights;
  bad.up.scales = spoiled.data();
  EXPECT_EQ(moe4j_layer_set_expert(open_layer, 1, &bad), MOE4J_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moe4j_last_error()).find("up.scales"), std::string::npos)
      << moe4j_last_error();
  moe4j_layer_destroy(open_layer);
}

TEST_F(HostileArguments, WeightsOfOtherActivationsAndFormats) {
  moe4j_layer* open_layer = nullptr;
  desc.activation = MOE4J_RELU2;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  expect_refusal("up.codes", moe4j_layer_set_expert(open_layer, 0, &weights));
  moe4j_layer_destroy(open_layer);

  desc.activation = MOE4J_SITU;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  expect_refusal("beta", moe4j_layer_set_expert(open_layer, 0, &weights));  // 0, SwiGLU's default
  weights.beta = 0x1.000002p64f;
  expect_refusal("beta", moe4j_layer_set_expert(open_layer, 0, &weights));
  weights.beta = 0x1p64f;
  weights.alpha = std::numeric_limits<float>::max();
  expect_refusal("alpha", moe4j_layer_set_expert(open_layer, 0, &weights));
  weights.alpha = 0x1p64f;
  EXPECT_EQ(moe4j_layer_set_expert(open_layer, 0, &weights), MOE4J_OK) << moe4j_last_error();
  weights = make_weights();
  moe4j_layer_destroy(open_layer);

  desc = make_desc();
  desc.activation_format = MOE4J_FORMAT_NVFP4;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  weights.input_scale = 0;
  expect_refusal("input_scale", moe4j_layer_set_expert(open_layer, 0, &weights));
  weights.input_scale = 1;
  weights.intermediate_scale = -1;
  expect_refusal("intermediate_scale", moe4j_layer_set_expert(open_layer, 0, &weights));
  moe4j_layer_destroy(open_layer);

  desc = make_desc();
  desc.weight_format = MOE4J_FORMAT_MXFP4;
  weights = make_weights();
  weights.gate.tensor_scale = weights.up.tensor_scale = weights.down.tensor_scale = 0.5f;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  expect_refusal("gate.tensor_scale", moe4j_layer_set_expert(open_layer, 0, &weights));
  moe4j_layer_destroy(open_layer);
}

TEST_F(HostileArguments, SealingAndSealedLayers) {
  moe4j_layer* open_layer = nullptr;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &open_layer), MOE4J_OK);
  ASSERT_EQ(moe4j_layer_set_expert(open_layer, 0, &weights), MOE4J_OK);
  EXPECT_EQ(moe4j_layer_seal(open_layer), MOE4J_INVALID_ARGUMENT) << "experts 1 to 3 are missing";
  expect_refusal("layer", moe4j_launch(open_layer, &args));
  int32_t count = 0;
  int64_t bytes = 0;
  expect_refusal("layer", moe4j_layer_tactics(open_layer, 1, nullptr, 0, &count));
  expect_refusal("layer", moe4j_workspace_bytes(open_layer, args.tactic, 1, &bytes));
  moe4j_layer_destroy(open_layer);

  expect_refusal("layer", moe4j_layer_set_expert(layer, 0, &weights));
  expect_refusal("layer", moe4j_layer_seal(layer));
  expect_refusal("layer", moe4j_layer_seal(nullptr));
}

TEST_F(HostileArguments, Launch) {
  using Args = moe4j_launch_args;
  std::vector<int32_t> ids = {0, 1, 2, 3, 0, 1};
  std::vector<float> routing_weights(6, 0.5f);
  std::vector<float> other(kTokens * kHidden);
  std::vector<int32_t> permutation(6);
  const auto unpacked = [&](Args& a) {
    a.routing_mode = MOE4J_UNPACKED;
    a.routing_logits = nullptr;
    a.topk_ids = ids.data();
    a.topk_weights = routing_weights.data();
    a.topk_weights_dtype = MOE4J_F32;
  };
  const auto unfinalized = [&](Args& a) {
    a.do_finalize = 0;
    a.output = nullptr;
    a.permuted_output = other.data();
    a.expert_weights = routing_weights.data();
    a.expanded_to_permuted = permutation.data();
  };
  const std::vector<Spoiled<Args>> table = {
      {"tokens", [](Args& a) { a.tokens = -1; }},
      {"tokens", [](Args& a) { a.tokens = int64_t{1} << 31; }},
      {"tokens", [](Args& a) { a.tokens = INT64_MAX; }},
      {"routing_mode", [](Args& a) { a.routing_mode = 3; }},
      {"routing_mode", [](Args& a) { a.routing_mode = -1; }},
      {"routing_logits_dtype", [](Args& a) { a.routing_logits_dtype = MOE4J_U8; }},
      {"routing_logits", [](Args& a) { a.routing_logits = nullptr; }},
      {"routing_logits", [this](Args& a) { a.routing_logits = bytes_ + 1; }},
      {"routing_bias", [this](Args& a) { a.routing_bias = tile_; }},
      {"topk_packed", [&](Args& a) { a.topk_packed = ids.data(); }},
      {"topk_ids", [&](Args& a) { a.topk_ids = ids.data(); }},
      {"topk_weights", [&](Args& a) { a.topk_weights = routing_weights.data(); }},
      {"routing_logits",
       [&](Args& a) {
         unpacked(a);
         a.routing_logits = logits.data();
       }},
      {"topk_ids",
       [&](Args& a) {
         unpacked(a);
         a.topk_ids = nullptr;
       }},
      {"topk_weights",
       [&](Args& a) {
         unpacked(a);
         a.topk_weights = nullptr;
       }},
      {"topk_weights_dtype",
       [&](Args& a) {
         unpacked(a);
         a.topk_weights_dtype = MOE4J_E4M3;
       }},
      {"topk_packed",
       [&](Args& a) {
         a.routing_logits = nullptr;
         a.routing_mode = MOE4J_PACKED;
       }},
      {"hidden_states_format", [](Args& a) { a.hidden_states_format = MOE4J_FORMAT_NVFP4; }},
      {"hidden_states_format", [](Args& a) { a.hidden_states_format = 9; }},
      {"hidden_states", [](Args& a) { a.hidden_states = nullptr; }},
      {"hidden_states_scale", [this](Args& a) { a.hidden_states_scale = bytes_; }},
      {"hidden_states_tensor_scale", [](Args& a) { a.hidden_states_tensor_scale = 0.5f; }},
      {"output_dtype", [](Args& a) { a.output_dtype = MOE4J_I16; }},
      {"output", [](Args& a) { a.output = nullptr; }},
      {"output", [this](Args& a) { a.output = hidden_states.data(); }},
      {"output", [this](Args& a) { a.output = bytes_ + 2; }},
      {"output", [](Args& a) { a.topk_ids_out = static_cast<int32_t*>(a.output); }},
      {"addend", [this](Args& a) { a.addend = reinterpret_cast<float*>(bytes_ + 3); }},
      {"per_token_scale",
       [this](Args& a) { a.per_token_scale = reinterpret_cast<float*>(bytes_ + 1); }},
      {"gemm1_lora_delta", [this](Args& a) { a.gemm1_lora_delta = bytes_ + 1; }},
      {"routing_replay_out",
       [this](Args& a) { a.routing_replay_out = reinterpret_cast<int16_t*>(bytes_ + 1); }},
      {"do_finalize", [](Args& a) { a.do_finalize = 2; }},
      {"permuted_output", [&](Args& a) { a.permuted_output = other.data(); }},
      {"expert_weights", [&](Args& a) { a.expert_weights = routing_weights.data(); }},
      {"expanded_to_permuted", [&](Args& a) { a.expanded_to_permuted = permutation.data(); }},
      {"permuted_output",
       [&](Args& a) {
         unfinalized(a);
         a.permuted_output = nullptr;
       }},
      {"expanded_to_permuted",
       [&](Args& a) {
         unfinalized(a);
         a.expanded_to_permuted = nullptr;
       }},
      {"output",
       [&](Args& a) {
         unfinalized(a);
         a.output = output.data();
       }},
      {"addend",
       [&](Args& a) {
         unfinalized(a);
         a.addend = tile_;
       }},
      {"tokens",  // whose rows have no number in expanded_to_permuted
       [&](Args& a) {
         unfinalized(a);
         a.tokens = int64_t{1} << 30;
       }},
      {"tactic", [](Args& a) { a.tactic = -1; }},
      {"tactic", [](Args& a) { a.tactic = 1 << 20; }},
      {"workspace_bytes", [](Args& a) { a.workspace_bytes -= 1; }},
      {"workspace_bytes", [](Args& a) { a.workspace_bytes = -1; }},
      {"workspace", [](Args& a) { a.workspace = nullptr; }},
      {"workspace", [](Args& a) { a.workspace = static_cast<char*>(a.workspace) + 64; }},
      {"stream", [this](Args& a) { a.stream = bytes_; }},
  };
  for (const auto& row : table) {
    moe4j_launch_args spoiled = args;
    row.spoil(spoiled);
    std::fill(output.begin(), output.end(), 7.0f);
    expect_refusal(row.argument, moe4j_launch(layer, &spoiled));
    for (const float value : output) ASSERT_EQ(value, 7.0f) << "a refused launch writes nothing";
  }
  expect_refusal("layer", moe4j_launch(nullptr, &args));
  expect_refusal("args", moe4j_launch(layer, nullptr));
  EXPECT_EQ(moe4j_launch(layer, &args), MOE4J_OK) << moe4j_last_error();
}

TEST_F(HostileArguments, RoutingContents) {
  const auto expect_message = [&](const moe4j_launch_args& launch, const char* message) {
    EXPECT_EQ(moe4j_launch(layer, &launch), MOE4J_INVALID_ARGUMENT);
    EXPECT_STREQ(moe4j_last_error(), message);
  };
  logits[6] = kNaN;
  expect_message(args, "routing_logits: found nan at [1, 2], expected numbers");

  moe4j_launch_args launch = args;
  std::vector<int32_t> ids = {0, 1, 2, 99, 0, 1};
  std::vector<float> routing_weights(6, 0.5f);
  launch.routing_mode = MOE4J_UNPACKED;
  launch.routing_logits = nullptr;
  launch.topk_ids = ids.data();
  launch.topk_weights = routing_weights.data();
  expect_message(launch, "topk_ids: found expert 99 at [1, 1], expected 0 <= id < 4");
  ids[3] = 2;
  expect_message(launch,
                 "topk_ids: found expert 2 at [1, 0] and [1, 1], expected each expert at most once "
                 "a token");
  ids[3] = 3;
  routing_weights[5] = kNaN;
  expect_message(launch, "topk_weights: found a nan weight at [2, 1], expected numbers");
  routing_weights[5] = 1;
  EXPECT_EQ(moe4j_launch(layer, &launch), MOE4J_OK) << moe4j_last_error();
}

TEST_F(HostileArguments, TacticsAndWorkspaces) {
  int32_t count = 0;
  int64_t bytes = 0;
  expect_refusal("layer", moe4j_layer_tactics(nullptr, 1, nullptr, 0, &count));
  expect_refusal("tokens", moe4j_layer_tactics(layer, -1, nullptr, 0, &count));
  expect_refusal("capacity", moe4j_layer_tactics(layer, 1, nullptr, -1, &count));
  expect_refusal("ids", moe4j_layer_tactics(layer, 1, nullptr, 1, &count));
  expect_refusal("count", moe4j_layer_tactics(layer, 1, nullptr, 0, nullptr));
  expect_refusal("layer", moe4j_workspace_bytes(nullptr, args.tactic, 1, &bytes));
  expect_refusal("tokens", moe4j_workspace_bytes(layer, args.tactic, -5, &bytes));
  expect_refusal("tactic", moe4j_workspace_bytes(layer, 1 << 20, 1, &bytes));
  expect_refusal("bytes", moe4j_workspace_bytes(layer, args.tactic, 1, nullptr));
  expect_refusal("layer", moe4j_layer_bytes(nullptr, &bytes));
  expect_refusal("bytes", moe4j_layer_bytes(layer, nullptr));
  EXPECT_EQ(moe4j_tactic_name(device, -1), nullptr);
  expect_refusal("tactic", MOE4J_INVALID_ARGUMENT);
  EXPECT_EQ(moe4j_tactic_name(nullptr, 0), nullptr);
  expect_refusal("device", MOE4J_INVALID_ARGUMENT);
  uint64_t hash = 0;
  expect_refusal("device", moe4j_tactic_table_hash(nullptr, &hash));
  expect_refusal("hash", moe4j_tactic_table_hash(device, nullptr));
}

TEST_F(HostileArguments, Devices) {
  moe4j_device* none = device;
  int32_t count = 0;
  expect_refusal("kind", moe4j_device_count(2, &count));
  expect_refusal("count", moe4j_device_count(MOE4J_CPU, nullptr));
  expect_refusal("kind", moe4j_device_open(-1, 0, 0, nullptr, &none));
  EXPECT_EQ(none, nullptr);
  expect_refusal("index", moe4j_device_open(MOE4J_CPU, 1, 0, nullptr, &none));
  expect_refusal("num_threads", moe4j_device_open(MOE4J_CPU, 0, -1, nullptr, &none));
  expect_refusal("num_threads", moe4j_device_open(MOE4J_CPU, 0, INT32_MAX, nullptr, &none));
  expect_refusal("max_instruction_set", moe4j_device_open(MOE4J_CPU, 0, 0, "altivec", &none));
  expect_refusal("device", moe4j_device_open(MOE4J_CPU, 0, 0, nullptr, nullptr));
  moe4j_device_info info;
  moe4j_device_counters counters;
  expect_refusal("device", moe4j_device_info_get(nullptr, &info));
  expect_refusal("info", moe4j_device_info_get(device, nullptr));
  expect_refusal("device", moe4j_device_counters_get(nullptr, &counters));
  expect_refusal("counters", moe4j_device_counters_get(device, nullptr));
  expect_refusal("device", moe4j_device_close(device));  // its layer and workspace are live
}

TEST_F(HostileArguments, Memory) {
  void* pointer = bytes_;
  expect_refusal("device", moe4j_allocate(nullptr, 1, &pointer));
  EXPECT_EQ(pointer, nullptr);
  expect_refusal("bytes", moe4j_allocate(device, -1, &pointer));
  expect_refusal("pointer", moe4j_allocate(device, 1, nullptr));
  EXPECT_EQ(moe4j_allocate(device, INT64_MAX, &pointer), MOE4J_OUT_OF_MEMORY);
  EXPECT_EQ(moe4j_allocate(device, int64_t{1} << 60, &pointer), MOE4J_OUT_OF_MEMORY);
  EXPECT_EQ(pointer, nullptr);

  expect_refusal("device", moe4j_free(nullptr, args.workspace));
  expect_refusal("pointer", moe4j_free(device, bytes_));  // not of this device
  expect_refusal("device", moe4j_copy_to_device(nullptr, bytes_, tile_, 4, nullptr));
  expect_refusal("destination", moe4j_copy_to_device(device, nullptr, tile_, 4, nullptr));
  expect_refusal("source", moe4j_copy_to_device(device, bytes_, nullptr, 4, nullptr));
  expect_refusal("bytes", moe4j_copy_to_device(device, bytes_, tile_, -4, nullptr));
  expect_refusal("stream", moe4j_copy_to_device(device, bytes_, tile_, 4, tile_));
  expect_refusal("destination", moe4j_copy_to_host(device, bytes_ + 2, bytes_, 4, nullptr));
  expect_refusal("destination", moe4j_copy_to_host(device, bytes_, tile_, INT64_MAX, nullptr));
  expect_refusal("device", moe4j_synchronize(nullptr, nullptr));
  expect_refusal("stream", moe4j_synchronize(device, tile_));
}

TEST_F(HostileArguments, FreeingTwiceIsRefused) {
  void* pointer = nullptr;
  ASSERT_EQ(moe4j_allocate(device, 100, &pointer), MOE4J_OK);
  EXPECT_EQ(moe4j_free(device, pointer), MOE4J_OK);
  expect_refusal("pointer", moe4j_free(device, pointer));
}

TEST_F(HostileArguments, Quantizers) {
  const auto quantize = [&](int32_t format, int64_t rows, int64_t k, int32_t dtype,
                            const void* source, float scale, void* codes_out, void* scales_out,
                            void* stream) {
    return moe4j_quantize(device, format, rows, k, dtype, source, scale, codes_out, scales_out,
                          stream);
  };
  uint8_t* codes_out = bytes_;
  uint8_t* scales_out = bytes_ + 1024;
  constexpr int32_t nvfp4 = MOE4J_FORMAT_NVFP4;
  expect_refusal("device", moe4j_quantize(nullptr, nvfp4, 1, 64, MOE4J_F32, tile_, 1, codes_out,
                                          scales_out, nullptr));
  expect_refusal("format", quantize(MOE4J_FORMAT_BF16, 1, 64, MOE4J_F32, tile_, 1, codes_out,
                                    scales_out, nullptr));
  expect_refusal("format",
                 quantize(12, 1, 64, MOE4J_F32, tile_, 1, codes_out, scales_out, nullptr));
  expect_refusal("rows",
                 quantize(nvfp4, -1, 64, MOE4J_F32, tile_, 1, codes_out, scales_out, nullptr));
  expect_refusal("k", quantize(nvfp4, 1, 63, MOE4J_F32, tile_, 1, codes_out, scales_out, nullptr));
  expect_refusal("k", quantize(nvfp4, 1, -16, MOE4J_F32, tile_, 1, codes_out, scales_out, nullptr));
  expect_refusal("rows", quantize(nvfp4, int64_t{1} << 40, int64_t{1} << 40, MOE4J_F32, tile_, 1,
                                  codes_out, scales_out, nullptr));
  expect_refusal("source_dtype",
                 quantize(nvfp4, 1, 64, MOE4J_I16, tile_, 1, codes_out, scales_out, nullptr));
  expect_refusal("source",
                 quantize(nvfp4, 1, 64, MOE4J_F32, nullptr, 1, codes_out, scales_out, nullptr));
  for (const float scale : {0.0f, -1.0f, kNaN, kInfinity}) {
    expect_refusal("tensor_scale",
                   quantize(nvfp4, 1, 64, MOE4J_F32, tile_, scale, codes_out, scales_out, nullptr));
  }
  expect_refusal("tensor_scale", quantize(MOE4J_FORMAT_MXFP4, 1, 64, MOE4J_F32, tile_, 2, codes_out,
                                          scales_out, nullptr));
  expect_refusal("codes",
                 quantize(nvfp4, 1, 64, MOE4J_F32, tile_, 1, nullptr, scales_out, nullptr));
  expect_refusal("scales",
                 quantize(nvfp4, 1, 64, MOE4J_F32, tile_, 1, codes_out, nullptr, nullptr));
  expect_refusal("scales",
                 quantize(nvfp4, 1, 64, MOE4J_F32, tile_, 1, codes_out, codes_out, nullptr));
  expect_refusal("stream",
                 quantize(nvfp4, 1, 64, MOE4J_F32, tile_, 1, codes_out, scales_out, tile_));
  tile_[9] = kNaN;
  expect_refusal("source",
                 quantize(nvfp4, 1, 64, MOE4J_F32, tile_, 1, codes_out, scales_out, nullptr));

  expect_refusal("format",
                 moe4j_dequantize(device, 0, 1, 64, codes_out, scales_out, 1, tile_, nullptr));
  expect_refusal("codes",
                 moe4j_dequantize(device, nvfp4, 1, 64, nullptr, scales_out, 1, tile_, nullptr));
  expect_refusal("destination", moe4j_dequantize(device, nvfp4, 1, 64, codes_out, scales_out, 1,
                                                 nullptr, nullptr));
}

TEST_F(HostileArguments, ScaleLayouts) {
  EXPECT_EQ(moe4j_swizzled_scale_bytes(-1, 4), -1);
  EXPECT_EQ(moe4j_swizzled_scale_bytes(4, -1), -1);
  EXPECT_EQ(moe4j_swizzled_scale_bytes(INT64_MAX, 1), -1);
  EXPECT_EQ(moe4j_swizzled_scale_bytes(int64_t{1} << 40, int64_t{1} << 40), -1);
  EXPECT_EQ(moe4j_swizzled_scale_bytes(129, 5), 2048);
  uint8_t linear[8] = {};
  expect_refusal("rows", moe4j_swizzle_scales(device, -2, 4, linear, bytes_, nullptr));
  expect_refusal("columns", moe4j_swizzle_scales(device, 2, -4, linear, bytes_, nullptr));
  expect_refusal("rows", moe4j_swizzle_scales(device, INT64_MAX, 4, linear, bytes_, nullptr));
  expect_refusal("linear", moe4j_swizzle_scales(device, 2, 4, nullptr, bytes_, nullptr));
  expect_refusal("swizzled", moe4j_swizzle_scales(device, 2, 4, linear, nullptr, nullptr));
  expect_refusal("swizzled", moe4j_swizzle_scales(device, 2, 4, bytes_, bytes_, nullptr));
  expect_refusal("device", moe4j_unswizzle_scales(nullptr, 2, 4, bytes_, linear, nullptr));
  expect_refusal("swizzled", moe4j_unswizzle_scales(device, 2, 4, nullptr, linear, nullptr));
}

/** FP8_PER_TOKEN exists inside a launch only: hidden states never come in it. */
TEST_F(HostileArguments, CodesOfAFormatThatHasNone) {
  moe4j_layer_desc per_token = make_desc();
  per_token.activation_format = MOE4J_FORMAT_FP8_PER_TOKEN;
  moe4j_layer* other = nullptr;
  ASSERT_EQ(moe4j_layer_create(device, &per_token, &other), MOE4J_OK) << moe4j_last_error();
  for (int32_t e = 0; e < kExperts; ++e) {
    ASSERT_EQ(moe4j_layer_set_expert(other, e, &weights), MOE4J_OK);
  }
  ASSERT_EQ(moe4j_layer_seal(other), MOE4J_OK);
  moe4j_launch_args codes_given = args;
  codes_given.hidden_states_format = MOE4J_FORMAT_FP8_PER_TOKEN;
  expect_refusal("hidden_states_format", moe4j_launch(other, &codes_given));
  moe4j_layer_destroy(other);
}

TEST_F(HostileArguments, RouterLogits) {
  const auto router = [&](int64_t tokens, int64_t hidden, int64_t experts, int32_t hidden_dtype,
                          const void* x, int32_t weight_dtype, const void* w, float* out) {
    return moe4j_router_logits(device, tokens, hidden, experts, hidden_dtype, x, weight_dtype, w,
                               MOE4J_F32, nullptr, out, nullptr);
  };
  const auto* x = reinterpret_cast<const float*>(bytes_);
  const float* w = x + 64;
  expect_refusal("tokens", router(-1, 4, 4, MOE4J_F32, x, MOE4J_F32, w, tile_));
  expect_refusal("hidden_size", router(1, 0, 4, MOE4J_F32, x, MOE4J_F32, w, tile_));
  expect_refusal("num_experts", router(1, 4, 0, MOE4J_F32, x, MOE4J_F32, w, tile_));
  expect_refusal("num_experts", router(1, 4, 4000, MOE4J_F32, x, MOE4J_F32, w, tile_));
  expect_refusal("hidden_dtype", router(1, 4, 4, MOE4J_U8, x, MOE4J_F32, w, tile_));
  expect_refusal("weight_dtype", router(1, 4, 4, MOE4J_F32, x, 99, w, tile_));
  expect_refusal("hidden_states", router(1, 4, 4, MOE4J_F32, nullptr, MOE4J_F32, w, tile_));
  expect_refusal("weight", router(1, 4, 4, MOE4J_F32, x, MOE4J_F32, nullptr, tile_));
  expect_refusal("logits", router(1, 4, 4, MOE4J_F32, x, MOE4J_F32, w, nullptr));
  expect_refusal("bias_dtype", moe4j_router_logits(device, 1, 4, 4, MOE4J_F32, x, MOE4J_F32, w,
                                                   MOE4J_I32, bytes_ + 2048, tile_, nullptr));
}

}  // namespace
}  // namespace moe4j
