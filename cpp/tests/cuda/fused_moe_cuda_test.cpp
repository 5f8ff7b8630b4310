// The operation on a CUDA device against the oracle in double: every tactic, layers and launches
// drawn at random, hostile contents, graphs.
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>

#include "cuda/device_launch.hpp"

namespace moe4j::test {
namespace {

/** Relative L2: BF16 activations, h, GEMM2 rows and output each round to 2^-9 at most. */
double tolerance(const moe4j_layer_desc& desc) {
  // Where h is quantized, a value near a tie may take the neighbouring code.
  return desc.activation_format == MOE4J_FORMAT_BF16 ? 4e-3 : 8e-3;
}

class FusedMoeCuda : public CudaTest {
 protected:
  void expect_oracle_output(Random& random, const RandomLayer& drawn, int64_t tokens) {
    const Layer layer = drawn.load(device());
    const Oracle oracle(drawn);
    const RandomInputs inputs(random, drawn, tokens);
    const std::vector<double> expected = oracle.output(inputs.args);
    const auto tried = named_tactics(device(), layer, tokens);
    ASSERT_FALSE(tried.empty());
    for (const auto& [name, id] : tried) {
      SCOPED_TRACE(name);
      DeviceRun run(device(), layer, drawn.desc, id, inputs.args);
      run.launch();
      const double error = relative_l2(run.values(), expected);
      worst_[name] = std::max(worst_[name], error);
      EXPECT_LT(error, tolerance(drawn.desc));
      expect_routing(drawn.desc, inputs.args, run);
    }
  }

  void expect_routing(const moe4j_layer_desc& desc, const moe4j_launch_args& args,
                      const DeviceRun& run) {
    const auto ids = run.ids();
    const auto replay = run.replay();
    const auto weights = run.weights();
    for (int64_t t = 0; t < args.tokens; ++t) {
      const auto chosen = oracle_chosen(desc, args, t);
      for (int32_t i = 0; i < desc.top_k; ++i) {
        const auto slot = static_cast<size_t>(t * desc.top_k + i);
        const Chosen& expected = chosen[static_cast<size_t>(i)];
        ASSERT_EQ(ids[slot], expected.id);
        ASSERT_EQ(replay[slot], expected.id);
        ASSERT_NEAR(weights[slot], expected.weight, 1e-6 * std::abs(expected.weight));
      }
    }
  }

  void TearDown() override {
    for (const auto& [name, error] : worst_) {
      std::printf("             %-34s worst relative L2 %.2e\n", name.c_str(), error);
    }
  }

  std::map<std::string, double> worst_;
};

std::string describe(const moe4j_layer_desc& d, int64_t tokens) {
  return "weights " + std::to_string(d.weight_format) + " activations " +
         std::to_string(d.activation_format) + " activation " + std::to_string(d.activation) +
         " H " + std::to_string(d.hidden_size) + " I " + std::to_string(d.intermediate_size) +
         " E " + std::to_string(d.num_experts) + " k " + std::to_string(d.top_k) + " S " +
         std::to_string(d.num_fused_shared_experts) + " T " + std::to_string(tokens);
}

TEST_F(FusedMoeCuda, AgreesWithTheOracleOnRandomLayers) {
  Random random(11);
  for (int draw = 0; draw < 120; ++draw) {
    const RandomLayer drawn(
        random, random.one_of({MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}),
        random.one_of(
            {MOE4J_FORMAT_BF16, MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP8}),
        random.one_of(
            {MOE4J_SWIGLU, MOE4J_SWIGLU, MOE4J_GEGLU, MOE4J_RELU2, MOE4J_IDENTITY, MOE4J_SITU}));
    const int64_t tokens = random.one_of({1, 2, 7, 8, 9, 33, 64, 130});
    SCOPED_TRACE("draw " + std::to_string(draw) + ": " + describe(drawn.desc, tokens));
    expect_oracle_output(random, drawn, tokens);
    if (HasFailure()) return;
  }
}

/** Sizes that the decode kernels take, with all options. */
TEST_F(FusedMoeCuda, AgreesWithTheOracleForFewTokens) {
  Random random(12);
  for (int draw = 0; draw < 40; ++draw) {
    const RandomLayer drawn = sized_layer(
        random, random.one_of({MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}),
        MOE4J_FORMAT_BF16,
        random.one_of(
            {MOE4J_SWIGLU, MOE4J_SWIGLU, MOE4J_GEGLU, MOE4J_RELU2, MOE4J_IDENTITY, MOE4J_SITU}),
        static_cast<int32_t>(64 * random.between(1, 6)),
        static_cast<int32_t>(64 * random.between(1, 6)),
        static_cast<int32_t>(random.between(4, 40)), static_cast<int32_t>(random.between(1, 4)));
    const int64_t tokens = random.between(1, 9);
    SCOPED_TRACE("draw " + std::to_string(draw) + ": " + describe(drawn.desc, tokens));
    expect_oracle_output(random, drawn, tokens);
    if (HasFailure()) return;
  }
}

/** Every number of rows that a tile can have, and experts of several tiles. */
TEST_F(FusedMoeCuda, AgreesWithTheOracleForEveryNumberOfTokensOfAnExpert) {
  Random random(13);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 192, 160, 1, 1);
    for (const int64_t tokens : {1,   2,   7,   8,   9,   15,  16,  17,  31,  32,  33,  47,
                                 48,  49,  64,  65,  80,  96,  97,  111, 113, 127, 128, 129,
                                 144, 145, 160, 161, 192, 224, 255, 256, 257, 300, 513, 1024}) {
      SCOPED_TRACE(describe(drawn.desc, tokens));
      expect_oracle_output(random, drawn, tokens);
      if (HasFailure()) return;
    }
  }
}

TEST_F(FusedMoeCuda, AgreesWithTheOracleForManyExperts) {
  Random random(14);
  for (const int64_t tokens : {64, 257, 1024}) {
    const RandomLayer drawn =
        sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64, 64, 300, 32);
    SCOPED_TRACE(describe(drawn.desc, tokens));
    expect_oracle_output(random, drawn, tokens);
  }
}

/** K loops long enough for every ring of stages to come round several times; small otherwise. */
TEST_F(FusedMoeCuda, AgreesWithTheOracleWhenRingsComeRound) {
  Random random(22);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 2880, 128, 2, 1);
    expect_oracle_output(random, drawn, 9);
  }
}

/** Whole K loops of the layers that matter, fewer experts, sampled tokens. */
TEST_F(FusedMoeCuda, AgreesWithTheOracleOnRealShapes) {
  struct Shape {
    const char* name;
    int32_t format, hidden, intermediate, top_k;
  };
  const Shape shapes[] = {{"gpt-oss", MOE4J_FORMAT_MXFP4, 2880, 2880, 4},
                          {"Qwen3-30B-A3B", MOE4J_FORMAT_NVFP4, 2048, 768, 4},
                          {"DeepSeek-V3", MOE4J_FORMAT_NVFP4, 7168, 2048, 2}};
  Random random(15);
  for (const Shape& shape : shapes) {
    const RandomLayer drawn = sized_layer(random, shape.format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU,
                                          shape.hidden, shape.intermediate, 5, shape.top_k);
    const Layer layer = drawn.load(device());
    const Oracle oracle(drawn);
    for (const int64_t tokens : {1, 4, 16, 700}) {
      SCOPED_TRACE(shape.name + std::string(" ") + std::to_string(tokens));
      RandomInputs inputs(random, drawn, tokens);
      inputs.args.addend = nullptr;
      const Matrix x = oracle_hidden_states(drawn.desc, inputs.args);
      std::vector<double> expected;
      const std::vector<int64_t> sampled = {0, tokens / 2, tokens - 1};
      for (const int64_t t : sampled) {
        std::vector<double> sum(static_cast<size_t>(shape.hidden));
        const auto chosen = oracle_chosen(drawn.desc, inputs.args, t);
        for (size_t s = 0; s < chosen.size(); ++s) {
          const auto y =
              oracle.slot_output(inputs.args, x, t, static_cast<int64_t>(s), chosen[s].id);
          for (size_t i = 0; i < y.size(); ++i) sum[i] += chosen[s].weight * y[i];
        }
        expected.insert(expected.end(), sum.begin(), sum.end());
      }
      for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
        SCOPED_TRACE(name);
        DeviceRun run(device(), layer, drawn.desc, id, inputs.args);
        run.launch();
        const auto all = run.values();
        std::vector<double> actual;
        for (const int64_t t : sampled) {
          actual.insert(actual.end(), all.begin() + t * shape.hidden,
                        all.begin() + (t + 1) * shape.hidden);
        }
        const double error = relative_l2(actual, expected);
        worst_[name] = std::max(worst_[name], error);
        EXPECT_LT(error, tolerance(drawn.desc));
        for (const double v : all) {
          ASSERT_TRUE(std::isfinite(v)) << "an element was not written";
        }
      }
    }
  }
}

TEST_F(FusedMoeCuda, LeavesCombiningToTheCallerWhenNotFinalizing) {
  Random random(16);
  for (int draw = 0; draw < 20; ++draw) {
    const RandomLayer drawn(random, random.one_of({MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}),
                            MOE4J_FORMAT_BF16, random.one_of({MOE4J_SWIGLU, MOE4J_RELU2}));
    const moe4j_layer_desc& desc = drawn.desc;
    const int64_t tokens = random.between(1, 40);
    RandomInputs inputs(random, drawn, tokens);
    inputs.args.addend = nullptr;
    const Oracle oracle(drawn);
    const Matrix x = oracle_hidden_states(desc, inputs.args);
    const Layer layer = drawn.load(device());
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name);
      const int64_t slots = tokens * drawn.slots();
      DeviceRun run(device(), layer, desc, id, inputs.args);
      const PoisonedBuffer rows(device(), slots * desc.hidden_size * 2);
      const PoisonedBuffer weights(device(), slots * 4);
      const PoisonedBuffer permuted(device(), slots * 4);
      run.args.do_finalize = 0;
      run.args.output = nullptr;
      run.args.permuted_output = rows.data();
      run.args.expert_weights = static_cast<float*>(weights.data());
      run.args.expanded_to_permuted = static_cast<int32_t*>(permuted.data());
      run.launch();
      const auto row_values = rows.read<uint16_t>();
      const auto weight_values = weights.read<float>();
      const auto row_of = permuted.read<int32_t>();

      std::vector<std::tuple<int32_t, int64_t, int32_t>> order;
      std::vector<double> actual;
      std::vector<double> expected;
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<Chosen> chosen = oracle_chosen(desc, inputs.args, t);
        for (int32_t s = 0; s < desc.num_fused_shared_experts; ++s) {
          chosen.push_back({desc.num_experts + s, 1.0});
        }
        for (int64_t s = 0; s < drawn.slots(); ++s) {
          const auto slot = static_cast<size_t>(t * drawn.slots() + s);
          const Chosen& choice = chosen[static_cast<size_t>(s)];
          EXPECT_NEAR(weight_values[slot], choice.weight, 1e-6 * std::abs(choice.weight));
          const auto y = oracle.slot_output(inputs.args, x, t, s, choice.id);
          if (y.empty()) {
            EXPECT_EQ(row_of[slot], -1);
            continue;
          }
          order.emplace_back(choice.id, t, row_of[slot]);
          ASSERT_GE(row_of[slot], 0);
          for (int64_t i = 0; i < desc.hidden_size; ++i) {
            actual.push_back(
                oracle_bf16(row_values[static_cast<size_t>(row_of[slot] * desc.hidden_size + i)]));
          }
          expected.insert(expected.end(), y.begin(), y.end());
        }
      }
      std::sort(order.begin(), order.end());
      for (size_t p = 0; p < order.size(); ++p) {
        ASSERT_EQ(std::get<2>(order[p]), static_cast<int32_t>(p));
      }
      EXPECT_LT(relative_l2(actual, expected), tolerance(desc));
    }
  }
}

/** Slots with hostile contents count as absent; the others give what the oracle says of them. */
TEST_F(FusedMoeCuda, HostileIdsContributeNothing) {
  Random random(17);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 128, 128, 7, 4);
  const Layer layer = drawn.load(device());
  const Oracle oracle(drawn);
  for (const int64_t tokens : {1, 8, 70}) {
    RandomInputs inputs(random, drawn, tokens);
    std::vector<int32_t> ids;
    std::vector<float> weights;
    for (int64_t i = 0; i < tokens * 4; ++i) {
      ids.push_back(random.one_of({0, 1, 2, 3, 4, 5, 6, 7, -1, 99, 0x7FFFFFFF, -0x7FFFFFFF - 1}));
      weights.push_back(random.real(0.1, 1));
    }
    moe4j_launch_args args = inputs.args;
    args.routing_logits = nullptr;
    args.topk_packed = nullptr;
    args.routing_mode = MOE4J_UNPACKED;
    args.topk_ids = ids.data();
    args.topk_weights_dtype = MOE4J_F32;
    args.topk_weights = weights.data();
    const Matrix x = oracle_hidden_states(drawn.desc, args);
    std::vector<double> expected;
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<double> sum(128);
      for (size_t i = 0; i < 128 && args.addend != nullptr; ++i) {
        sum[i] = args.addend[static_cast<size_t>(t) * 128 + i];
      }
      for (int64_t s = 0; s < 4; ++s) {
        const auto slot = static_cast<size_t>(t * 4 + s);
        const auto begin = ids.begin() + t * 4;
        const bool repeated = std::find(begin, begin + s, ids[slot]) != begin + s;
        if (ids[slot] < 0 || ids[slot] >= 7 || repeated) continue;
        const auto y = oracle.slot_output(args, x, t, s, ids[slot]);
        for (size_t i = 0; i < 128; ++i) sum[i] += static_cast<double>(weights[slot]) * y[i];
      }
      expected.insert(expected.end(), sum.begin(), sum.end());
    }
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name);
      DeviceRun run(device(), layer, drawn.desc, id, args);
      run.launch();
      EXPECT_LT(relative_l2(run.values(), expected), tolerance(drawn.desc));
    }
  }
}

TEST_F(FusedMoeCuda, NanLogitsAreNeverChosen) {
  Random random(18);
  for (int32_t method = 0; method < 10; ++method) {
    RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64,
                                    64, 6, method == MOE4J_ROUTING_LLAMA4 ? 1 : 3);
    drawn.desc.routing_method = method;
    const Layer layer = drawn.load(device());
    RandomInputs inputs(random, drawn, 3);
    std::vector<float> logits(18, std::nanf(""));
    logits[6 + 2] = 1;  // token 1 has one expert left
    for (size_t e = 12; e < 18; ++e) logits[e] = static_cast<float>(e % 5);
    logits[14] = std::nanf("");
    moe4j_launch_args args = inputs.args;
    args.addend = nullptr;
    args.topk_ids = nullptr;
    args.topk_packed = nullptr;
    args.topk_weights = nullptr;
    args.routing_mode = MOE4J_FROM_LOGITS;
    args.routing_logits = logits.data();
    for (const auto& [name, id] : named_tactics(device(), layer, 3)) {
      SCOPED_TRACE(name + " method " + std::to_string(method));
      DeviceRun run(device(), layer, drawn.desc, id, args);
      run.launch();
      const auto ids = run.ids();
      const auto k = static_cast<size_t>(drawn.desc.top_k);
      for (size_t i = 0; i < k; ++i) EXPECT_EQ(ids[i], -1);
      EXPECT_EQ(ids[k], 2);
      for (size_t i = k + 1; i < 2 * k; ++i) EXPECT_EQ(ids[i], -1);
      for (size_t i = 2 * k; i < 3 * k; ++i) EXPECT_NE(ids[i], 2);
      const auto values = run.values();
      for (size_t i = 0; i < 64; ++i) EXPECT_EQ(values[i], 0);
      for (const double v : values) EXPECT_TRUE(std::isfinite(v));
    }
  }
}

/** A graph captured once, replayed with routing that changes in place: the bits of eager runs. */
TEST_F(FusedMoeCuda, GraphReplaysGiveTheBitsOfEagerRuns) {
  Random random(19);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 128, 12, 3);
  const Layer layer = drawn.load(device());
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  for (const int64_t tokens : {1, 8, 50, 300}) {
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name + " tokens " + std::to_string(tokens));
      RandomInputs inputs(random, drawn, tokens);
      std::vector<float> logits(static_cast<size_t>(tokens) * 12);
      moe4j_launch_args args = inputs.args;
      args.topk_ids = nullptr;
      args.topk_packed = nullptr;
      args.topk_weights = nullptr;
      args.routing_mode = MOE4J_FROM_LOGITS;
      args.routing_logits = logits.data();
      DeviceRun eager(device(), layer, drawn.desc, id, args);
      DeviceRun captured(device(), layer, drawn.desc, id, args);
      cudaGraph_t graph;
      cudaGraphExec_t executable;
      ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
      captured.launch(stream);
      ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
      ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
      for (int replay = 0; replay < 60; ++replay) {
        for (float& logit : logits) logit = random.normal();
        for (DeviceRun* run : {&eager, &captured}) {
          ASSERT_EQ(cudaMemcpy(const_cast<void*>(run->args.routing_logits), logits.data(),
                               logits.size() * 4, cudaMemcpyHostToDevice),
                    cudaSuccess);
          run->poison();
        }
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
        eager.launch();  // on another stream, at the same time
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        ASSERT_EQ(captured.bits(), eager.bits()) << "replay " << replay;
      }
      ASSERT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
      ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    }
  }
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(FusedMoeCuda, ThreadsShareALayerWithoutLeaking) {
  Random random(20);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 128, 128, 8, 2);
  const Layer layer = drawn.load(device());
  const RandomInputs inputs(random, drawn, 33);
  const auto tactics = layer.tactics(33);
  DeviceRun expected(device(), layer, drawn.desc, tactics[0], inputs.args);
  expected.launch();
  const auto bits = expected.bits();
  const int64_t held = device().counters().live_allocations;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 20; ++turn) {
        DeviceRun run(device(), layer, drawn.desc, tactics[0], inputs.args);
        run.launch();
        EXPECT_EQ(run.bits(), bits);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(device().counters().live_allocations, held);
}

TEST_F(FusedMoeCuda, RefusesNanBlockScalesByTheirPlace) {
  Random random(21);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 320, 320, 1, 1);
    Layer layer(device(), drawn.desc);
    auto* scales = static_cast<uint8_t*>(const_cast<void*>(drawn.experts[0].down.scales));
    const int64_t stride = drawn.experts[0].down.scale_row_stride;
    const uint8_t kept[] = {scales[317 * stride + 4], scales[300 * stride + 7]};
    scales[317 * stride + 4] = 0xFF;
    scales[300 * stride + 7] = 0xFF;
    EXPECT_EQ(moe4j_layer_set_expert(layer.get(), 0, &drawn.experts[0]), MOE4J_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(moe4j_last_error()),
              "down.scales: found NaN at [300, 7], expected finite block scales");
    EXPECT_EQ(moe4j_layer_seal(layer.get()), MOE4J_INVALID_ARGUMENT);
    scales[317 * stride + 4] = kept[0];
    scales[300 * stride + 7] = kept[1];
    layer.set_expert(0, drawn.experts[0]);
    layer.seal();
  }
}

}  // namespace
}  // namespace moe4j::test
