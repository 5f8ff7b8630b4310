#include "bench/bench_layer.hpp"

#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "bench/routing.hpp"

namespace moe4j::bench {
namespace {

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>(bits >> 16);
}

/** SplitMix64: fills hundreds of megabytes in no time. */
class FastRandom {
 public:
  explicit FastRandom(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  void fill(std::vector<uint8_t>* bytes) {
    for (size_t i = 0; i < bytes->size(); i += sizeof(uint64_t)) {
      const uint64_t value = next();
      std::memcpy(bytes->data() + i, &value, std::min(sizeof(value), bytes->size() - i));
    }
  }

 private:
  uint64_t state_;
};

/** A matrix [rows, K] in a checkpoint's layout. */
class HostMatrix {
 public:
  HostMatrix(const LayerCase& layer, int64_t rows, int64_t k)
      : format_(layer.weight_format),
        k_(k),
        codes_(static_cast<size_t>(rows * k / 2)),
        scales_(static_cast<size_t>(rows * k / block_of(format_))),
        bias_(layer.gpt_oss ? static_cast<size_t>(rows) : 0) {}

  void randomize(FastRandom* random) {
    random->fill(&codes_);
    random->fill(&scales_);
    // NVFP4: E4M3 between .5 and 3.75; MXFP4: a quarter to twice 1 / sqrt(K).
    const int center = 127 - static_cast<int>(std::log2(static_cast<double>(k_)) / 2 + 2);
    for (uint8_t& scale : scales_) {
      scale = static_cast<uint8_t>(format_ == MOE4J_FORMAT_NVFP4 ? 0x30 + scale % 24
                                                                 : center - 1 + scale % 3);
    }
    for (uint16_t& bias : bias_) {
      bias = to_bf16(static_cast<float>(random->next() % 201) / 100 - 1);
    }
  }

  moe4j_matrix view() const {
    moe4j_matrix matrix = {};
    matrix.codes = codes_.data();
    matrix.row_stride = k_ / 2;
    matrix.scales = scales_.data();
    matrix.scale_row_stride = k_ / block_of(format_);
    matrix.tensor_scale =
        format_ == MOE4J_FORMAT_NVFP4 ? 0.25f / std::sqrt(static_cast<float>(k_)) : 1.0f;
    matrix.bias_dtype = MOE4J_BF16;
    matrix.bias = bias_.empty() ? nullptr : bias_.data();
    matrix.bias_stride = 1;
    return matrix;
  }

 private:
  int32_t format_;
  int64_t k_;
  std::vector<uint8_t> codes_;
  std::vector<uint8_t> scales_;
  std::vector<uint16_t> bias_;
};

std::vector<uint16_t> random_states(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> states(static_cast<size_t>(count));
  for (uint16_t& state : states) state = to_bf16(normal(random));
  return states;
}

/** Logits [tokens, experts] of which a token's largest are those of its ids [tokens, k]. */
std::vector<float> logits_for(const std::vector<int32_t>& ids, int64_t tokens, int64_t experts,
                              uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform;
  std::vector<float> logits(static_cast<size_t>(tokens * experts));
  for (float& logit : logits) logit = uniform(random);
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t token = i * static_cast<size_t>(tokens) / ids.size();
    logits[token * static_cast<size_t>(experts) + static_cast<size_t>(ids[i])] += 1;
  }
  return logits;
}

}  // namespace

PreparedLayer make_layer(const Device& device, const LayerCase& layer_case,
                         int32_t activation_format) {
  moe4j_layer_desc desc = default_layer_desc();
  desc.weight_format = layer_case.weight_format;
  desc.activation_format = activation_format;
  desc.hidden_size = layer_case.hidden_size;
  desc.intermediate_size = layer_case.intermediate_size;
  desc.num_experts = desc.local_num_experts = layer_case.num_experts;
  desc.top_k = layer_case.top_k;
  desc.activation = MOE4J_SWIGLU;
  if (layer_case.n_group > 0) {
    desc.routing_method = MOE4J_ROUTING_DEEPSEEK_V3;
    desc.n_group = layer_case.n_group;
    desc.topk_group = layer_case.topk_group;
    desc.routed_scaling_factor = 2.5f;
  }
  Layer layer(device, desc);

  moe4j_expert_weights weights = default_expert_weights();
  if (layer_case.gpt_oss) {
    weights.alpha = 1.702f;
    weights.beta = 1;
    weights.limit = 7;
  }
  HostMatrix gate(layer_case, desc.intermediate_size, desc.hidden_size);
  HostMatrix up(layer_case, desc.intermediate_size, desc.hidden_size);
  HostMatrix down(layer_case, desc.hidden_size, desc.intermediate_size);
  FastRandom random(1);
  double seconds = 0;
  for (int32_t e = 0; e < desc.num_experts; ++e) {
    for (HostMatrix* matrix : {&gate, &up, &down}) matrix->randomize(&random);
    weights.gate = gate.view();
    weights.up = up.view();
    weights.down = down.view();
    const auto begin = std::chrono::steady_clock::now();
    layer.set_expert(e, weights);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  layer.seal();
  return {std::move(layer), seconds};
}

BenchLaunch::BenchLaunch(const Device& device, const LayerCase& layer_case,
                         const std::vector<int32_t>& ids, int64_t tokens, uint64_t seed)
    : tokens_(tokens),
      active_experts_(count_active(ids)),
      ids_(device, ids.data(), static_cast<int64_t>(ids.size())),
      weights_(device,
               std::vector<float>(ids.size(), 1.0f / static_cast<float>(layer_case.top_k)).data(),
               static_cast<int64_t>(ids.size())),
      logits_(device, logits_for(ids, tokens, layer_case.num_experts, seed).data(),
              tokens * layer_case.num_experts),
      hidden_states_(device, random_states(tokens * layer_case.hidden_size, seed).data(),
                     tokens * layer_case.hidden_size),
      output_(device, tokens * layer_case.hidden_size * 2) {}

moe4j_launch_args BenchLaunch::args(int32_t tactic, const Buffer& workspace,
                                    bool from_logits) const {
  moe4j_launch_args args = default_launch_args(tokens_);
  if (from_logits) {
    args.routing_mode = MOE4J_FROM_LOGITS;
    args.routing_logits = logits_.data();
    args.routing_logits_dtype = MOE4J_F32;
  } else {
    args.routing_mode = MOE4J_UNPACKED;
    args.topk_ids = ids_.as<int32_t>();
    args.topk_weights = weights_.data();
    args.topk_weights_dtype = MOE4J_F32;
  }
  args.hidden_states = hidden_states_.data();
  args.output = output_.data();
  args.tactic = tactic;
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.bytes();
  return args;
}

}  // namespace moe4j::bench
