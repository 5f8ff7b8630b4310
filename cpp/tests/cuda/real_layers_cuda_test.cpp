// The layers of published models at their real sizes, all experts, every tactic and token count.
//
// The oracle computes a few tokens in full; all others are held against the first tactic's.
#include <numeric>
#include <string>

#include "cuda/fused_moe_cuda.hpp"

namespace moe4j::test {
namespace {

struct RealLayer {
  const char* name;
  int32_t weight_format, hidden, intermediate, experts, top_k, routing_method;
  int32_t n_group, topk_group, shared;
  bool clamped;  // gpt-oss: biases, alpha, beta and a limit, gate and up rows interleaved
};

constexpr RealLayer kRealLayers[] = {
    {"gpt_oss_20b", MOE4J_FORMAT_MXFP4, 2880, 2880, 32, 4, MOE4J_ROUTING_RENORMALIZE, 0, 0, 0,
     true},
    {"gpt_oss_120b", MOE4J_FORMAT_MXFP4, 2880, 2880, 128, 4, MOE4J_ROUTING_RENORMALIZE, 0, 0, 0,
     true},
    {"Qwen3_30B_A3B", MOE4J_FORMAT_NVFP4, 2048, 768, 128, 8, MOE4J_ROUTING_RENORMALIZE_NAIVE, 0, 0,
     0, false},
    {"Qwen3_235B_A22B", MOE4J_FORMAT_NVFP4, 4096, 1536, 128, 8, MOE4J_ROUTING_RENORMALIZE_NAIVE, 0,
     0, 0, false},
    {"DeepSeek_V3", MOE4J_FORMAT_NVFP4, 7168, 2048, 256, 8, MOE4J_ROUTING_DEEPSEEK_V3, 8, 4, 1,
     false},
    {"Kimi_K2", MOE4J_FORMAT_NVFP4, 7168, 2048, 384, 8, MOE4J_ROUTING_DEEPSEEK_V3, 1, 1, 1, false},
    {"Llama_4_Maverick", MOE4J_FORMAT_NVFP4, 5120, 8192, 128, 1, MOE4J_ROUTING_LLAMA4, 0, 0, 0,
     false},
    {"Mixtral_8x7B", MOE4J_FORMAT_NVFP4, 4096, 14336, 8, 2, MOE4J_ROUTING_RENORMALIZE, 0, 0, 0,
     false},
};

moe4j_layer_desc describe_layer(const RealLayer& real) {
  moe4j_layer_desc desc = default_layer_desc();
  desc.weight_format = real.weight_format;
  desc.hidden_size = real.hidden;
  desc.intermediate_size = real.intermediate;
  desc.num_experts = desc.local_num_experts = real.experts;
  desc.top_k = real.top_k;
  desc.routing_method = real.routing_method;
  desc.n_group = real.n_group;
  desc.topk_group = real.topk_group;
  desc.num_fused_shared_experts = real.shared;
  if (real.routing_method == MOE4J_ROUTING_DEEPSEEK_V3) desc.routed_scaling_factor = 2.5f;
  return desc;
}

/**
 * Weights of any number of experts out of one pool of random bytes: an expert's matrices begin a
 * little later than those of the expert before, so all differ and none is generated twice.
 */
class PooledExperts {
 public:
  PooledExperts(const RealLayer& real, const moe4j_layer_desc& desc) : real_(real), desc_(desc) {
    const int64_t rows = std::max(2 * real.intermediate, real.hidden) + kExpertShift * kMostExperts;
    const int64_t largest = 2 * int64_t{real.hidden} * real.intermediate + kSlack;
    codes_.resize(static_cast<size_t>(largest / 2 / 8 + 1));
    scales_.resize(static_cast<size_t>(largest / block_of(desc.weight_format)));
    bias_.resize(static_cast<size_t>(rows));
    Random random(51);
    for (uint64_t& word : codes_) word = random.bits();
    const bool nvfp4 = desc.weight_format == MOE4J_FORMAT_NVFP4;
    for (uint8_t& scale : scales_) {
      scale = static_cast<uint8_t>(nvfp4 ? random.between(0x30, 0x48) : random.between(120, 124));
    }
    for (float& bias : bias_) bias = random.normal();
  }

  /** Borrows from this. */
  moe4j_expert_weights expert(int32_t e) const {
    moe4j_expert_weights w = default_expert_weights();
    const int64_t rows = desc_.intermediate_size;
    w.gate = matrix(e, 0, desc_.hidden_size, real_.clamped ? 2 : 1);
    w.up = real_.clamped ? w.gate : matrix(e, rows * desc_.hidden_size, desc_.hidden_size, 1);
    w.down = matrix(e, 64 * 1031, desc_.intermediate_size, 1);
    if (real_.clamped) {
      w.up.codes = static_cast<const uint8_t*>(w.gate.codes) + w.gate.row_stride / 2;
      w.up.scales = static_cast<const uint8_t*>(w.gate.scales) + w.gate.scale_row_stride / 2;
      w.up.bias = static_cast<const float*>(w.gate.bias) + 1;
      w.alpha = 1.702f;
      w.beta = 1;
      w.limit = 7;
    }
    if (desc_.weight_format == MOE4J_FORMAT_NVFP4) {  // they differ in checkpoints, too
      w.up.tensor_scale *= 1.0f + static_cast<float>(e % 7) / 4;
      w.down.tensor_scale *= 1.5f - static_cast<float>(e % 5) / 8;
    }
    return w;
  }

 private:
  static constexpr int64_t kMostExperts = 512;
  static constexpr int64_t kExpertShift = 3;        // of biases
  static constexpr int64_t kWeightShift = 64 * 37;  // of weights
  static constexpr int64_t kSlack = kWeightShift * kMostExperts + 64 * 1031;

  moe4j_matrix matrix(int32_t e, int64_t first, int64_t k, int64_t stride) const {
    const int64_t begin = first + e * kWeightShift;
    const int64_t block = block_of(desc_.weight_format);
    moe4j_matrix m = {};
    m.codes = reinterpret_cast<const uint8_t*>(codes_.data()) + begin / 2;
    m.row_stride = stride * k / 2;
    m.scales = scales_.data() + begin / block;
    m.scale_row_stride = stride * k / block;
    m.tensor_scale =
        desc_.weight_format == MOE4J_FORMAT_NVFP4 ? 0.4f / std::sqrt(static_cast<float>(k)) : 1.0f;
    m.bias_stride = stride;
    if (real_.clamped) {
      m.bias_dtype = MOE4J_F32;
      m.bias = bias_.data() + e * kExpertShift;
    }
    return m;
  }

  const RealLayer& real_;
  const moe4j_layer_desc& desc_;
  std::vector<uint64_t> codes_;
  std::vector<uint8_t> scales_;
  std::vector<float> bias_;
};

/** Tokens and router logits; launches of fewer tokens take the first ones. */
struct RealInputs {
  RealInputs(const moe4j_layer_desc& desc, int64_t tokens)
      : args(default_launch_args(tokens)),
        hidden(static_cast<size_t>(tokens * desc.hidden_size)),
        logits(static_cast<size_t>(tokens * desc.num_experts)) {
    parallel_for(tokens, [&](int64_t t) {
      Random random(1000 + static_cast<uint64_t>(t));
      for (int64_t i = t * desc.hidden_size; i < (t + 1) * desc.hidden_size; ++i) {
        hidden[static_cast<size_t>(i)] = random.bf16(random.normal());
      }
      for (int64_t i = t * desc.num_experts; i < (t + 1) * desc.num_experts; ++i) {
        logits[static_cast<size_t>(i)] = 2 * random.normal();
      }
    });
    args.hidden_states = hidden.data();
    args.routing_mode = MOE4J_FROM_LOGITS;
    args.routing_logits = logits.data();
    if (desc.routing_method == MOE4J_ROUTING_DEEPSEEK_V3) {
      Random random(52);
      for (int32_t e = 0; e < desc.num_experts; ++e) bias.push_back(random.real(-0.2, 0.2));
      args.routing_bias = bias.data();
    }
  }

  std::vector<Chosen> chosen(const moe4j_layer_desc& desc, int64_t token) const {
    const auto first = logits.begin() + token * desc.num_experts;
    return oracle_route(desc, std::vector<double>(first, first + desc.num_experts),
                        std::vector<double>(bias.begin(), bias.end()));
  }

  moe4j_launch_args args;
  std::vector<uint16_t> hidden;
  std::vector<float> logits, bias;
};

std::vector<double> decoded_rows(const std::vector<uint16_t>& matrix, int64_t columns,
                                 const std::vector<int64_t>& rows) {
  std::vector<double> values;
  for (const int64_t row : rows) {
    for (int64_t i = row * columns; i < (row + 1) * columns; ++i) {
      values.push_back(oracle_bf16(matrix[static_cast<size_t>(i)]));
    }
  }
  return values;
}

/** Relative L2 of two BF16 outputs; NaN if one of their elements is. */
double difference(const std::vector<uint16_t>& actual, const std::vector<uint16_t>& expected) {
  constexpr size_t kChunk = 1 << 16;
  const size_t chunks = (expected.size() + kChunk - 1) / kChunk;
  std::vector<double> errors(chunks), norms(chunks);
  parallel_for(static_cast<int64_t>(chunks), [&](int64_t c) {
    const auto chunk = static_cast<size_t>(c);
    double error = 0;
    double norm = 0;
    for (size_t i = chunk * kChunk; i < std::min((chunk + 1) * kChunk, expected.size()); ++i) {
      const double value = oracle_bf16(expected[i]);
      const double gap = oracle_bf16(actual[i]) - value;
      error += gap * gap;
      norm += value * value;
    }
    errors[chunk] = error;
    norms[chunk] = norm;
  });
  return std::sqrt(std::accumulate(errors.begin(), errors.end(), 0.0) /
                   std::accumulate(norms.begin(), norms.end(), 0.0));
}

class RealLayersCuda : public FusedMoeCuda, public testing::WithParamInterface<RealLayer> {
 protected:
  /** Finalized outputs of some tokens, [tokens, H]. */
  static std::vector<double> oracle_rows(const moe4j_layer_desc& desc, const PooledExperts& experts,
                                         const RealInputs& inputs,
                                         const std::vector<int64_t>& tokens) {
    const auto h = static_cast<size_t>(desc.hidden_size);
    const int64_t slots = desc.top_k + desc.num_fused_shared_experts;
    std::vector<std::vector<double>> outputs(tokens.size() * static_cast<size_t>(slots));
    parallel_for(static_cast<int64_t>(outputs.size()), [&](int64_t i) {
      const int64_t token = tokens[static_cast<size_t>(i / slots)];
      const int64_t slot = i % slots;
      const auto chosen = inputs.chosen(desc, token);
      const bool is_shared = slot >= desc.top_k;
      const Chosen choice =
          is_shared ? Chosen{desc.num_experts + static_cast<int32_t>(slot) - desc.top_k, 1}
                    : chosen[static_cast<size_t>(slot)];
      std::vector<double> x;
      for (size_t k = 0; k < h; ++k) {
        x.push_back(oracle_bf16(inputs.hidden[static_cast<size_t>(token) * h + k]));
      }
      const OracleExpert expert(desc, experts.expert(choice.id), false);
      auto& output = outputs[static_cast<size_t>(i)];
      output = oracle_expert_output(desc, inputs.args, expert, x, token, slot);
      for (double& v : output) v *= choice.weight;
    });
    std::vector<double> rows(tokens.size() * h);
    for (size_t i = 0; i < outputs.size(); ++i) {
      for (size_t k = 0; k < h; ++k) rows[i / static_cast<size_t>(slots) * h + k] += outputs[i][k];
    }
    return rows;
  }
};

INSTANTIATE_TEST_SUITE_P(Cuda, RealLayersCuda, testing::ValuesIn(kRealLayers),
                         [](const auto& info) { return info.param.name; });

TEST_P(RealLayersCuda, AgreeWithTheOracle) {
  const moe4j_layer_desc desc = describe_layer(GetParam());
  const int64_t counts[] = {1, 2, 7, 8, 9, 64, 257, 1024, 4096};
  const std::vector<int64_t> sample = {0, 1, 6, 7, 8, 63, 256, 1023, 4095};  // each count's last
  const int64_t most = 4096;

  const PooledExperts experts(GetParam(), desc);
  Layer layer(device(), desc);
  for (int32_t e = 0; e < desc.num_experts + desc.num_fused_shared_experts; ++e) {
    layer.set_expert(e, experts.expert(e));
  }
  layer.seal();
  const RealInputs inputs(desc, most);
  const std::vector<double> expected = oracle_rows(desc, experts, inputs, sample);
  std::vector<std::vector<Chosen>> routing(static_cast<size_t>(most));
  parallel_for(most, [&](int64_t t) { routing[static_cast<size_t>(t)] = inputs.chosen(desc, t); });

  DeviceRun run(device(), layer, desc, inputs.args);
  const int64_t h = desc.hidden_size;
  for (size_t c = 0; c < sample.size(); ++c) {
    const int64_t tokens = counts[c];
    run.args.tokens = tokens;
    const std::vector<int64_t> rows(sample.begin(), sample.begin() + static_cast<int64_t>(c) + 1);
    const std::vector<double> expected_rows(expected.begin(),
                                            expected.begin() + static_cast<int64_t>(c + 1) * h);
    std::vector<uint16_t> first;
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name + " tokens " + std::to_string(tokens));
      run.poison();
      run.launch(id);
      const std::vector<uint16_t> output = run.bf16_output();
      expect_near_oracle(desc, name, decoded_rows(output, h, rows), expected_rows);
      if (first.empty()) {
        first = output;
        const auto ids = run.ids();
        for (int64_t i = 0; i < tokens * desc.top_k; ++i) {
          const Chosen& choice =
              routing[static_cast<size_t>(i / desc.top_k)][static_cast<size_t>(i % desc.top_k)];
          ASSERT_EQ(ids[static_cast<size_t>(i)], choice.id) << "token " << i / desc.top_k;
        }
      }
      // Of all tokens; NaN where one was not written. Tactics round h and rows alike, but for ties.
      EXPECT_LT(difference(output, first), tolerance(desc, name, output.size()));
    }
  }
}

}  // namespace
}  // namespace moe4j::test
