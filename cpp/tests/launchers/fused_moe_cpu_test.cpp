// The operation on the CPU against the oracle in double: every instruction set, every tactic,
// layers and launches drawn at random.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "launchers/launch.hpp"

namespace moe4j::test {
namespace {

/** Relative L2 that rounding the output to BF16 may cost: 2^-9 at most for an element. */
constexpr double kOutputRounding = 2e-3;
/** And rounding h: the sums of GEMM2 can be smaller than what they are made of. */
constexpr double kHRounding = 3.4e-3;
/** And quantizing h: a value near a tie may take the neighbouring code. */
constexpr double kHCodes = 5e-3;
constexpr double kHInt8Codes = 2e-3;

/** The error that a launch is allowed: what its roundings add up to. */
double tolerance(const moe4j_layer_desc& desc, int32_t output_dtype, const std::string& tactic) {
  double squares = 5e-6 * 5e-6;  // accumulation in F32
  const auto add = [&squares](double error) { squares += error * error; };
  if (output_dtype == MOE4J_BF16) add(kOutputRounding);
  if (desc.activation_format == MOE4J_FORMAT_INT8) {
    add(kHInt8Codes);
  } else if (desc.activation_format != MOE4J_FORMAT_BF16) {
    add(kHCodes);
  } else if (tactic.find("_bf16.") != std::string::npos) {
    add(kHRounding);
  }
  return std::sqrt(squares);
}

class EachInstructionSet : public testing::TestWithParam<const char*> {
 protected:
  /** Opens the device, unless this processor lacks the instruction set. */
  void SetUp() override {
    const std::string all = std::string(" ") + Device::cpu(1).info().instruction_sets + " ";
    if (all.find(std::string(" ") + GetParam() + " ") == std::string::npos) {
      GTEST_SKIP() << "this processor has no " << GetParam();
    }
  }

  Device open(int32_t threads = 2) const { return Device::cpu(threads, GetParam()); }

  /** Tactics of the instruction set at hand: lower ones have their own turn. */
  std::vector<std::pair<std::string, int32_t>> tactics(const Device& device, const Layer& layer,
                                                       int64_t tokens) const {
    std::vector<std::pair<std::string, int32_t>> chosen;
    for (auto& tactic : named_tactics(device, layer, tokens)) {
      const std::string prefix = std::string("cpu.") + GetParam() + ".";
      if (tactic.first.compare(0, prefix.size(), prefix) == 0) chosen.push_back(tactic);
    }
    return chosen;
  }

  /** Whether there are kernels for formats other than INT8. */
  bool has_exact_kernels() const {
    return std::set<std::string>{"avx512_vnni", "amx_int8"}.count(GetParam()) == 0;
  }
  bool has_int8_kernels() const {
    return std::set<std::string>{"avx512", "avx512_bf16", "amx_bf16"}.count(GetParam()) == 0;
  }
  bool has_kernels(int32_t activation_format) const {
    return activation_format == MOE4J_FORMAT_INT8 ? has_int8_kernels() : has_exact_kernels();
  }

  void expect_oracle_output(Random& random, const RandomLayer& drawn, int64_t tokens) const {
    const Device device = open();
    const Layer layer = drawn.load(device);
    const Oracle oracle(drawn);
    const RandomInputs inputs(random, drawn, tokens);
    const std::vector<double> expected = oracle.output(inputs.args);
    const auto tried = tactics(device, layer, tokens);
    ASSERT_FALSE(tried.empty());
    for (const auto& [name, id] : tried) {
      const Outputs outputs = must_launch(device, layer, drawn.desc, id, inputs.args);
      EXPECT_LT(relative_l2(outputs.values(), expected),
                tolerance(drawn.desc, inputs.args.output_dtype, name))
          << name;
      expect_routing(drawn.desc, inputs.args, outputs);
    }
  }

  void expect_routing(const moe4j_layer_desc& desc, const moe4j_launch_args& args,
                      const Outputs& outputs) const {
    for (int64_t t = 0; t < args.tokens; ++t) {
      const auto chosen = oracle_chosen(desc, args, t);
      for (int64_t i = 0; i < desc.top_k; ++i) {
        const int64_t slot = t * desc.top_k + i;
        const Chosen& expected = chosen[static_cast<size_t>(i)];
        ASSERT_EQ(outputs.ids[slot], expected.id);
        ASSERT_EQ(outputs.replay[slot], expected.id);
        ASSERT_NEAR(outputs.weights[slot], expected.weight, 1e-6 * std::abs(expected.weight));
      }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Cpu, EachInstructionSet,
                         testing::Values("portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16",
                                         "amx_int8", "amx_bf16"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(EachInstructionSet, AgreesWithTheOracleOnRandomLayers) {
  Random random(1);
  for (int draw = 0; draw < 60; ++draw) {
    const int32_t activations =
        random.one_of({MOE4J_FORMAT_BF16, MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP8,
                       MOE4J_FORMAT_FP8_PER_TOKEN, MOE4J_FORMAT_INT8, MOE4J_FORMAT_INT8});
    if (!has_kernels(activations)) continue;
    const int32_t fp4 = random.one_of({MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4});
    const RandomLayer drawn(
        random,
        activations != MOE4J_FORMAT_INT8 && random.chance(33) ? int32_t{MOE4J_FORMAT_BF16} : fp4,
        activations,
        random.one_of(
            {MOE4J_SWIGLU, MOE4J_SWIGLU, MOE4J_GEGLU, MOE4J_RELU2, MOE4J_IDENTITY, MOE4J_SITU}));
    const int64_t tokens = random.one_of({1, 1, 2, 3, 4, 5, 7, 9, 12, 17, 33, 70});
    SCOPED_TRACE(testing::Message()
                 << "draw " << draw << ": weights " << drawn.desc.weight_format << " activations "
                 << drawn.desc.activation_format << " activation " << drawn.desc.activation << " H "
                 << drawn.desc.hidden_size << " I " << drawn.desc.intermediate_size << " E "
                 << drawn.desc.num_experts << " k " << drawn.desc.top_k << " T " << tokens);
    expect_oracle_output(random, drawn, tokens);
    if (HasFailure()) return;
  }
}

/** One expert chosen by all tokens: every tile size there is, the largest many times. */
TEST_P(EachInstructionSet, AgreesWithTheOracleForEveryNumberOfTokensOfAnExpert) {
  Random random(2);
  for (const int32_t activations : {MOE4J_FORMAT_BF16, MOE4J_FORMAT_INT8}) {
    if (!has_kernels(activations)) continue;
    for (const int32_t format : {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
      if (activations == MOE4J_FORMAT_INT8 && format == MOE4J_FORMAT_BF16) continue;
      const RandomLayer drawn =
          sized_layer(random, format, activations, MOE4J_SWIGLU, 160, 96, 1, 1);
      for (int64_t tokens = 1; tokens <= 20; ++tokens) expect_oracle_output(random, drawn, tokens);
      expect_oracle_output(random, drawn, 150);
    }
  }
}

TEST_P(EachInstructionSet, AgreesWithTheOracleOnAWideLayer) {
  if (!has_exact_kernels()) GTEST_SKIP() << GetParam() << " has kernels for INT8 only";
  Random random(3);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 2880, 320, 3, 1);
    expect_oracle_output(random, drawn, 7);
  }
}

TEST_P(EachInstructionSet, AgreesWithTheOracleForTheLargestSituParameters) {
  if (!has_exact_kernels()) GTEST_SKIP() << GetParam() << " has kernels for INT8 only";
  Random random(5);
  RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SITU, 256, 128, 3, 2);
  for (moe4j_expert_weights& w : drawn.experts) w.alpha = w.beta = 0x1p64f;
  expect_oracle_output(random, drawn, 7);
}

TEST_P(EachInstructionSet, LeavesCombiningToTheCallerWhenNotFinalizing) {
  if (!has_exact_kernels()) GTEST_SKIP() << GetParam() << " has kernels for INT8 only";
  Random random(4);
  for (int draw = 0; draw < 20; ++draw) {
    const RandomLayer drawn(random, random.one_of({MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}),
                            MOE4J_FORMAT_BF16, random.one_of({MOE4J_SWIGLU, MOE4J_RELU2}));
    const moe4j_layer_desc& desc = drawn.desc;
    const int64_t tokens = random.between(1, 20);
    RandomInputs inputs(random, drawn, tokens);
    inputs.args.addend = nullptr;
    inputs.args.do_finalize = 0;
    const int64_t slots = tokens * drawn.slots();
    const Oracle oracle(drawn);
    const Device device = open();
    const Layer layer = drawn.load(device);
    for (const auto& [name, id] : tactics(device, layer, tokens)) {
      SCOPED_TRACE(name);
      Poisoned<uint16_t> rows(slots * desc.hidden_size);
      Poisoned<float> weights(slots);
      Poisoned<int32_t> permuted(slots);
      moe4j_launch_args args = inputs.args;
      args.permuted_output = rows.data();
      args.expert_weights = weights.data();
      args.expanded_to_permuted = permuted.data();
      ASSERT_EQ(launch_with(device, layer, id, args), MOE4J_OK) << moe4j_last_error();
      EXPECT_TRUE(rows.guard_is_intact());
      EXPECT_TRUE(weights.guard_is_intact());
      EXPECT_TRUE(permuted.guard_is_intact());

      const auto [actual, expected] =
          check_permuted(drawn, oracle, args, rows.data(), weights.data(), permuted.data());
      EXPECT_LT(relative_l2(actual, expected), tolerance(desc, MOE4J_BF16, name));
    }
  }
}

TEST_P(EachInstructionSet, GivesTheSameBitsAtAnyThreadCount) {
  Random random(5);
  for (const int32_t activation_format : {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP8,
                                          MOE4J_FORMAT_FP8_PER_TOKEN, MOE4J_FORMAT_INT8}) {
    if (!has_kernels(activation_format)) continue;
    const RandomLayer drawn(random, MOE4J_FORMAT_MXFP4, activation_format, MOE4J_SWIGLU);
    const RandomInputs inputs(random, drawn, 130);
    const Device one = open(1);
    const Layer on_one = drawn.load(one);
    for (const auto& [name, id] : tactics(one, on_one, inputs.args.tokens)) {
      const Outputs expected = must_launch(one, on_one, drawn.desc, id, inputs.args);
      for (const int32_t threads : {2, 3, 7}) {
        const Device device = open(threads);
        const Layer layer = drawn.load(device);
        const Outputs outputs = must_launch(device, layer, drawn.desc, id, inputs.args);
        EXPECT_TRUE(outputs.output == expected.output) << name << ", " << threads << " threads";
      }
    }
  }
}

TEST_P(EachInstructionSet, ExpertParallelPartsSumUpToTheWhole) {
  Random random(6);
  const RandomLayer whole =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 96, 48, 7, 3);
  RandomInputs inputs(random, whole, 29);
  inputs.args.addend = nullptr;
  inputs.args.output_dtype = MOE4J_F32;

  const Device device = open();
  const auto run = [&](int32_t first, int32_t count) {
    moe4j_layer_desc desc = whole.desc;
    desc.local_expert_offset = first;
    desc.local_num_experts = count;
    Layer layer(device, desc);
    for (int32_t e = 0; e < count; ++e) {
      layer.set_expert(e, whole.experts[static_cast<size_t>(first + e)]);
    }
    layer.seal();
    const int32_t tactic = layer.tactics(inputs.args.tokens)[0];
    return must_launch(device, layer, desc, tactic, inputs.args).values();
  };
  std::vector<double> sum = run(0, 2);
  for (const auto& part : {run(2, 4), run(6, 1)}) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
  }
  EXPECT_LT(relative_l2(sum, run(0, 7)), 1e-6);
}

/** More rows than one pass holds, so that launches work in several. */
TEST_P(EachInstructionSet, WorksThroughMoreTokensThanOnePassHolds) {
  Random random(7);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_IDENTITY, 16, 16, 5, 4);
  if (has_exact_kernels()) expect_oracle_output(random, drawn, 5000);

  RandomInputs inputs(random, drawn, 5000);
  inputs.args.addend = nullptr;
  inputs.args.output_dtype = MOE4J_F32;
  const Device device = open();
  const Layer layer = drawn.load(device);
  const int32_t tactic = layer.tactics(5000)[0];
  const std::vector<double> finalized =
      must_launch(device, layer, drawn.desc, tactic, inputs.args).values();
  Poisoned<uint16_t> rows(5000 * 4 * 16);
  Poisoned<float> weights(5000 * 4);
  Poisoned<int32_t> permuted(5000 * 4);
  moe4j_launch_args args = inputs.args;
  args.do_finalize = 0;
  args.permuted_output = rows.data();
  args.expert_weights = weights.data();
  args.expanded_to_permuted = permuted.data();
  ASSERT_EQ(launch_with(device, layer, tactic, args), MOE4J_OK) << moe4j_last_error();
  std::vector<double> combined;
  for (int64_t t = 0; t < 5000; ++t) {
    for (int64_t i = 0; i < 16; ++i) {
      double sum = 0;
      for (int64_t s = t * 4; s < t * 4 + 4; ++s) {
        sum += static_cast<double>(weights[s]) * oracle_bf16(rows[permuted[s] * 16 + i]);
      }
      combined.push_back(sum);
    }
  }
  EXPECT_LT(relative_l2(combined, finalized), kOutputRounding);
}

TEST_P(EachInstructionSet, RefusedRoutingLeavesTheOutputsAlone) {
  Random random(8);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 32, 32, 4, 2);
  const Device device = open();
  const Layer layer = drawn.load(device);

  RandomInputs inputs(random, drawn, 100);
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < 100; ++t) ids.insert(ids.end(), {t % 4, (t + 1) % 4});
  ids[2 * 37 + 1] = 99;
  ids[2 * 90] = -1;
  const std::vector<float> weights(200, 0.5f);
  moe4j_launch_args args = inputs.args;
  args.routing_logits = args.topk_packed = nullptr;
  args.routing_mode = MOE4J_UNPACKED;
  args.topk_ids = ids.data();
  args.topk_weights_dtype = MOE4J_F32;
  args.topk_weights = weights.data();
  Outputs outputs(drawn.desc, args);
  EXPECT_EQ(launch_with(device, layer, layer.tactics(100)[0], outputs.args),
            MOE4J_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(moe4j_last_error()),
            "topk_ids: found expert 99 at [37, 1], expected 0 <= id < 4");
  EXPECT_TRUE(outputs.output.is_untouched());
  EXPECT_TRUE(outputs.ids.is_untouched());
  EXPECT_TRUE(outputs.weights.is_untouched());
  EXPECT_TRUE(outputs.replay.is_untouched());
}

/** What moe4j.h promises of INT8 against exact activations. */
TEST(CpuLayer, Int8ActivationsCostAboutOnePercent) {
  Random random(10);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 192, 4, 2);
    const RandomInputs inputs(random, drawn, 33);
    const std::vector<double> exact = Oracle(drawn).output(inputs.args);
    RandomLayer int8 = drawn;
    int8.desc.activation_format = MOE4J_FORMAT_INT8;
    const Device device = Device::cpu(2);
    const Layer layer = int8.load(device);
    const Outputs outputs =
        must_launch(device, layer, int8.desc, layer.tactics(33)[0], inputs.args);
    const double error = relative_l2(outputs.values(), exact);
    EXPECT_LT(error, 1.5e-2);
    EXPECT_GT(error, 2e-3);  // or it was not INT8
  }
}

TEST(CpuLayer, RefusesNanBlockScalesByTheirPlace) {
  Random random(9);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 320, 320, 1, 1);
    const Device device = Device::cpu(2);
    Layer layer(device, drawn.desc);
    auto* scales = static_cast<uint8_t*>(const_cast<void*>(drawn.experts[0].down.scales));
    const int64_t stride = drawn.experts[0].down.scale_row_stride;
    scales[317 * stride + 4] = 0xFF;
    scales[300 * stride + 7] = 0xFF;
    scales[300 * stride + 9] = 0xFF;
    EXPECT_EQ(moe4j_layer_set_expert(layer.get(), 0, &drawn.experts[0]), MOE4J_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(moe4j_last_error()),
              "down.scales: found NaN at [300, 7], expected finite block scales");
    EXPECT_EQ(moe4j_layer_seal(layer.get()),
              MOE4J_INVALID_ARGUMENT);  // the expert is still missing
    scales[317 * stride + 4] = scales[300 * stride + 7] = scales[300 * stride + 9] = 0x30;
    layer.set_expert(0, drawn.experts[0]);
    layer.seal();
  }
}

struct RealShape {
  const char* name;
  int32_t format, hidden, intermediate;
};

TEST(CpuLayer, PreparedWeightsAreHardlyLargerThanTheCheckpoint) {
  const RealShape shapes[] = {{"gpt-oss", MOE4J_FORMAT_MXFP4, 2880, 2880},
                              {"Qwen3-30B-A3B", MOE4J_FORMAT_NVFP4, 2048, 768},
                              {"Qwen3-235B-A22B", MOE4J_FORMAT_NVFP4, 4096, 1536},
                              {"DeepSeek-V3", MOE4J_FORMAT_NVFP4, 7168, 2048},
                              {"Llama-4-Maverick", MOE4J_FORMAT_NVFP4, 5120, 8192},
                              {"Mixtral-8x7B", MOE4J_FORMAT_NVFP4, 4096, 14336}};
  const Device device = Device::cpu(1);
  for (const RealShape& shape : shapes) {
    moe4j_layer_desc desc = default_layer_desc();
    desc.weight_format = shape.format;
    desc.hidden_size = shape.hidden;
    desc.intermediate_size = shape.intermediate;
    desc.num_experts = desc.local_num_experts = 2;
    desc.top_k = 1;
    const Layer layer(device, desc);
    const double weights = 2.0 * 3 * shape.hidden * shape.intermediate;
    const double checkpoint = weights * (0.5 + 1.0 / static_cast<double>(block_of(shape.format)));
    EXPECT_LE(static_cast<double>(layer.prepared_bytes()), 1.02 * checkpoint) << shape.name;
    EXPECT_EQ(device.counters().live_bytes, layer.prepared_bytes());
  }
  EXPECT_EQ(device.counters().live_bytes, 0);
  EXPECT_EQ(device.counters().live_layers, 0);
}

}  // namespace
}  // namespace moe4j::test
