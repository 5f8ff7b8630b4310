// Routing from logits on a CUDA device: the ids of the oracle, for every method and many sizes.
#include <cmath>
#include <string>

#include "cuda/device_launch.hpp"
#include "launchers/parallel.hpp"

namespace moe4j::test {
namespace {

struct Size {
  int32_t experts, top_k, n_group, topk_group;
};

class RoutingCuda : public CudaTest {
 protected:
  /** A layer that holds one of the experts, which do next to nothing. */
  static RandomLayer draw_layer(Random& random, int32_t method, const Size& size) {
    const bool grouped = method == MOE4J_ROUTING_DEEPSEEK_V3;
    RandomLayer drawn =
        sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_IDENTITY, 32, 32, 1, 1);
    moe4j_layer_desc& desc = drawn.desc;
    desc.num_experts = size.experts;
    desc.local_num_experts = 1;
    desc.top_k = method == MOE4J_ROUTING_LLAMA4 ? 1 : size.top_k;
    desc.routing_method = method;
    desc.n_group = grouped ? size.n_group : 0;
    desc.topk_group = grouped ? size.topk_group : 0;
    desc.norm_topk_prob = static_cast<int32_t>(random.between(0, 1));
    if (is_biased(method)) desc.routed_scaling_factor = 2.5f;
    return drawn;
  }

  static bool is_biased(int32_t method) {
    return method == MOE4J_ROUTING_DEEPSEEK_V3 || method == MOE4J_ROUTING_MINIMAX2;
  }

  /** Logits [tokens, E] as F32 or as BF16: the ids and weights of the oracle. */
  void expect_oracle_routing(Random& random, const RandomLayer& drawn, int64_t tokens,
                             const std::vector<float>& logits, bool bf16) {
    const moe4j_layer_desc& desc = drawn.desc;
    SCOPED_TRACE("method " + std::to_string(desc.routing_method) + " E " +
                 std::to_string(desc.num_experts) + " k " + std::to_string(desc.top_k) + " T " +
                 std::to_string(tokens));
    const Layer layer = drawn.load(device());
    std::vector<uint16_t> rounded;
    for (const float logit : logits) rounded.push_back(random.bf16(logit));
    std::vector<float> bias;
    if (is_biased(desc.routing_method)) {
      for (int32_t e = 0; e < desc.num_experts; ++e) bias.push_back(random.real(-0.2, 0.2));
    }
    const std::vector<uint16_t> hidden(static_cast<size_t>(tokens * desc.hidden_size));
    moe4j_launch_args args = default_launch_args(tokens);
    args.hidden_states = hidden.data();
    args.routing_mode = MOE4J_FROM_LOGITS;
    args.routing_logits_dtype = bf16 ? MOE4J_BF16 : MOE4J_F32;
    args.routing_logits = bf16 ? static_cast<const void*>(rounded.data()) : logits.data();
    if (!bias.empty()) args.routing_bias = bias.data();
    DeviceRun run(device(), layer, desc, args);
    run.launch(layer.tactics(tokens)[0]);
    const auto ids = run.ids();
    const auto weights = run.weights();

    std::vector<std::vector<Chosen>> chosen(static_cast<size_t>(tokens));
    parallel_for(tokens, [&](int64_t t) {
      std::vector<double> exact;
      for (int64_t i = t * desc.num_experts; i < (t + 1) * desc.num_experts; ++i) {
        exact.push_back(bf16 ? oracle_bf16(rounded[static_cast<size_t>(i)])
                             : static_cast<double>(logits[static_cast<size_t>(i)]));
      }
      chosen[static_cast<size_t>(t)] =
          oracle_route(desc, exact, std::vector<double>(bias.begin(), bias.end()));
    });
    for (int64_t t = 0; t < tokens; ++t) {
      for (int32_t s = 0; s < desc.top_k; ++s) {
        const auto slot = static_cast<size_t>(t * desc.top_k + s);
        const Chosen& expected = chosen[static_cast<size_t>(t)][static_cast<size_t>(s)];
        ASSERT_EQ(ids[slot], expected.id) << "token " << t << " slot " << s;
        ASSERT_NEAR(weights[slot], expected.weight, 1e-6 * std::abs(expected.weight) + 1e-30);
      }
    }
  }
};

TEST_F(RoutingCuda, AgreesWithTheOracleForEveryMethod) {
  Random random(31);
  const Size sizes[] = {{1, 1, 1, 1},    {8, 2, 4, 2},     {32, 4, 1, 1},  {100, 5, 5, 3},
                        {128, 8, 1, 1},  {256, 8, 8, 4},   {384, 8, 1, 1}, {512, 32, 16, 8},
                        {1000, 7, 4, 2}, {1024, 32, 8, 5}, {33, 32, 1, 1}};
  for (int32_t method = 0; method < 10; ++method) {
    for (const Size& size : sizes) {
      const RandomLayer drawn = draw_layer(random, method, size);
      const int64_t tokens = random.one_of({1, 2, 5, 67});
      std::vector<float> logits;
      for (int64_t i = 0; i < tokens * size.experts; ++i) logits.push_back(2 * random.normal());
      expect_oracle_routing(random, drawn, tokens, logits, random.chance(50));
    }
  }
}

/** Equal logits: the lower id goes first. */
TEST_F(RoutingCuda, GivesTiesToTheLowerId) {
  Random random(32);
  for (int32_t method = 0; method < 10; ++method) {
    if (is_biased(method)) continue;  // random biases leave no tie
    for (const Size& size : {Size{64, 8, 8, 4}, Size{512, 32, 16, 8}}) {
      std::vector<float> logits;
      for (int64_t i = 0; i < int64_t{40} * size.experts; ++i) {
        logits.push_back(static_cast<float>(random.between(-8, 8)) / 4);
      }
      expect_oracle_routing(random, draw_layer(random, method, size), 40, logits, false);
    }
  }
}

TEST_F(RoutingCuda, AgreesWithTheOracleFor65536Tokens) {
  Random random(33);
  constexpr int64_t kTokens = 65536;
  std::vector<float> logits(kTokens * 512);
  parallel_for(kTokens, [&](int64_t t) {
    Random of_token(40 + static_cast<uint64_t>(t));
    for (int64_t i = t * 512; i < (t + 1) * 512; ++i) {
      logits[static_cast<size_t>(i)] = 2 * of_token.normal();
    }
  });
  for (int32_t method = 0; method < 10; ++method) {
    const RandomLayer drawn = draw_layer(random, method, {512, 32, 16, 8});
    expect_oracle_routing(random, drawn, kTokens, logits, method % 2 == 0);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace moe4j::test
