// Routing from logits on a CUDA device: the ids of the oracle, for every method and many sizes.
#include <cmath>
#include <limits>
#include <string>

#include "cuda/device_launch.hpp"

namespace moe4j::test {
namespace {

class RoutingCuda : public CudaTest {};

TEST_F(RoutingCuda, AgreesWithTheOracleForEveryMethod) {
  Random random(31);
  struct Size {
    int32_t experts, top_k, n_group, topk_group;
  };
  const Size sizes[] = {{1, 1, 1, 1},    {8, 2, 4, 2},     {32, 4, 1, 1},  {100, 5, 5, 3},
                        {128, 8, 1, 1},  {256, 8, 8, 4},   {384, 8, 1, 1}, {512, 32, 16, 8},
                        {1000, 7, 4, 2}, {1024, 32, 8, 5}, {33, 32, 1, 1}};
  for (int32_t method = 0; method < 10; ++method) {
    for (const Size& size : sizes) {
      const bool grouped = method == MOE4J_ROUTING_DEEPSEEK_V3;
      RandomLayer drawn =
          sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_IDENTITY, 32, 32, 1, 1);
      moe4j_layer_desc desc = drawn.desc;
      desc.num_experts = size.experts;
      desc.local_num_experts = 1;
      desc.top_k = method == MOE4J_ROUTING_LLAMA4 ? 1 : size.top_k;
      desc.routing_method = method;
      desc.n_group = grouped ? size.n_group : 0;
      desc.topk_group = grouped ? size.topk_group : 0;
      desc.norm_topk_prob = static_cast<int32_t>(random.between(0, 1));
      const bool biased = grouped || method == MOE4J_ROUTING_MINIMAX2;
      if (biased) desc.routed_scaling_factor = 2.5f;
      drawn.desc = desc;
      Layer layer(device(), desc);
      layer.set_expert(0, drawn.experts[0]);
      layer.seal();
      const bool bf16 = random.chance(50);
      const int64_t tokens = random.one_of({1, 5, 67});
      SCOPED_TRACE("method " + std::to_string(method) + " E " + std::to_string(size.experts) +
                   " k " + std::to_string(desc.top_k) + " T " + std::to_string(tokens));

      RandomInputs inputs(random, drawn, tokens);
      const int64_t count = tokens * size.experts;
      std::vector<float> logits;
      std::vector<uint16_t> rounded;
      std::vector<double> exact;
      for (int64_t i = 0; i < count; ++i) {
        const float logit = 2 * random.normal();
        logits.push_back(logit);
        rounded.push_back(random.bf16(logit));
        exact.push_back(bf16 ? oracle_bf16(rounded.back()) : logit);
      }
      std::vector<float> bias;
      for (int32_t e = 0; e < size.experts; ++e) bias.push_back(random.real(-0.2, 0.2));
      moe4j_launch_args args = inputs.args;
      args.topk_ids = nullptr;
      args.topk_packed = nullptr;
      args.topk_weights = nullptr;
      args.gemm1_lora_delta = nullptr;
      args.routing_mode = MOE4J_FROM_LOGITS;
      args.routing_logits_dtype = bf16 ? MOE4J_BF16 : MOE4J_F32;
      args.routing_logits = bf16 ? static_cast<const void*>(rounded.data()) : logits.data();
      if (biased) args.routing_bias = bias.data();
      DeviceRun run(device(), layer, desc, layer.tactics(tokens)[0], args);
      run.launch();
      const auto ids = run.ids();
      const auto weights = run.weights();
      for (int64_t t = 0; t < tokens; ++t) {
        const auto first = exact.begin() + t * size.experts;
        const auto chosen = oracle_route(
            desc, std::vector<double>(first, first + size.experts),
            biased ? std::vector<double>(bias.begin(), bias.end()) : std::vector<double>());
        for (int32_t s = 0; s < desc.top_k; ++s) {
          const auto slot = static_cast<size_t>(t * desc.top_k + s);
          const Chosen& expected = chosen[static_cast<size_t>(s)];
          ASSERT_EQ(ids[slot], expected.id) << "token " << t << " slot " << s;
          ASSERT_NEAR(weights[slot], expected.weight, 1e-6 * std::abs(expected.weight) + 1e-30);
        }
      }
    }
  }
}

}  // namespace
}  // namespace moe4j::test
