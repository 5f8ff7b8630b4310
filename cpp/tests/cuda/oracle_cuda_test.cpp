// The operation on a CUDA device against the oracle in double, with every tactic: all formats,
// activations and options, all token counts, small sizes.
#include <string>

#include "cuda/fused_moe_cuda.hpp"

namespace moe4j::test {
namespace {

constexpr int32_t kWeightFormats[] = {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4};
constexpr int32_t kActivationFormats[] = {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP8,
                                          MOE4J_FORMAT_FP8_PER_TOKEN};
constexpr int32_t kActivations[] = {MOE4J_SWIGLU, MOE4J_GEGLU, MOE4J_RELU2, MOE4J_IDENTITY,
                                    MOE4J_SITU};

class EachTokenCount : public FusedMoeCuda, public testing::WithParamInterface<int64_t> {};

INSTANTIATE_TEST_SUITE_P(Cuda, EachTokenCount, testing::Values(1, 2, 7, 8, 9, 64, 257, 1024, 4096),
                         [](const auto& info) { return std::to_string(info.param); });

/** What is not listed is drawn: biases, parallel and shared experts, the launch's options. */
TEST_P(EachTokenCount, AgreesWithTheOracleForEveryFormatAndActivation) {
  Random random(100 + static_cast<uint64_t>(GetParam()));
  for (const int32_t weights : kWeightFormats) {
    for (const int32_t activations : kActivationFormats) {
      for (const int32_t activation : kActivations) {
        const RandomLayer drawn(random, weights, activations, activation);
        expect_oracle_output(random, drawn, GetParam());
        if (HasFatalFailure()) return;
      }
    }
  }
}

using OracleCuda = FusedMoeCuda;

/** Sizes that the decode kernels take, with all options. */
TEST_F(OracleCuda, AgreesForFewTokens) {
  Random random(12);
  for (int draw = 0; draw < 40; ++draw) {
    const RandomLayer drawn = sized_layer(
        random, random.one_of({MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}),
        MOE4J_FORMAT_BF16, kActivations[random.between(0, 4)],
        static_cast<int32_t>(64 * random.between(1, 6)),
        static_cast<int32_t>(64 * random.between(1, 6)),
        static_cast<int32_t>(random.between(4, 40)), static_cast<int32_t>(random.between(1, 4)));
    expect_oracle_output(random, drawn, random.between(1, 9));
    if (HasFatalFailure()) return;
  }
}

/** More of them, for few and many experts, full and empty ones. */
TEST_F(OracleCuda, AgreesForSomeTokens) {
  Random random(23);
  for (int draw = 0; draw < 40; ++draw) {
    const auto experts = static_cast<int32_t>(random.between(1, 70));
    const RandomLayer drawn = sized_layer(
        random, random.one_of({MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}), MOE4J_FORMAT_BF16,
        kActivations[random.between(0, 4)], static_cast<int32_t>(64 * random.between(1, 9)),
        static_cast<int32_t>(64 * random.between(1, 9)), experts,
        static_cast<int32_t>(random.between(1, std::min(experts, 8))));
    expect_oracle_output(random, drawn, random.between(10, 256));
    if (HasFatalFailure()) return;
  }
}

/** Every number of rows that a tile can have, and experts of several tiles. */
TEST_F(OracleCuda, AgreesForEveryNumberOfTokensOfAnExpert) {
  Random random(13);
  for (int draw = 0; draw < 6; ++draw) {
    const int32_t intermediate = draw < 3 ? 160 : 128;  // whole blocks of K, or not
    const RandomLayer drawn = sized_layer(random, kWeightFormats[draw % 3], MOE4J_FORMAT_BF16,
                                          MOE4J_SWIGLU, 192, intermediate, 1, 1);
    for (const int64_t tokens : {1,   2,   7,   8,   9,   15,  16,  17,  31,  32,  33,  47,
                                 48,  49,  64,  65,  80,  96,  97,  111, 113, 127, 128, 129,
                                 144, 145, 160, 161, 192, 224, 255, 256, 257, 300, 513, 1024}) {
      expect_oracle_output(random, drawn, tokens);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(OracleCuda, AgreesForManyExperts) {
  Random random(14);
  for (const int64_t tokens : {64, 257, 1024}) {
    const RandomLayer drawn =
        sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64, 64, 300, 32);
    expect_oracle_output(random, drawn, tokens);
  }
}

TEST_F(OracleCuda, AgreesForSixtyThousandTokens) {
  Random random(15);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64, 96, 16, 4);
  for (const int64_t tokens : {5000, 65536}) expect_oracle_output(random, drawn, tokens);
}

/** K loops long enough for every ring of stages to come round several times; small otherwise. */
TEST_F(OracleCuda, AgreesWhenRingsComeRound) {
  Random random(22);
  for (const int32_t format : kWeightFormats) {
    const RandomLayer drawn =
        sized_layer(random, format, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 2880, 128, 2, 1);
    expect_oracle_output(random, drawn, 9);
  }
}

/** More than 65535 blocks of rows in GEMM1 and of K in GEMM2, all zeros but in the last of them. */
TEST_F(OracleCuda, AgreesForMillionsOfFeatures) {
  constexpr int32_t kFeatures = (1 << 22) + 64;
  Random random(27);
  RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_IDENTITY, 32, 64, 1, 1);
  drawn.desc.intermediate_size = kFeatures;
  const auto widen = [&](moe4j_matrix& matrix, int64_t rows, int64_t k, int64_t first_row,
                         int64_t first_k) {
    auto* codes = drawn.storage.make<uint8_t>(rows * k / 2);
    auto* scales = drawn.storage.make<uint8_t>(rows * k / 32);
    for (int64_t row = first_row; row < rows; ++row) {
      for (int64_t i = first_k / 2; i < k / 2; ++i) {
        codes[row * k / 2 + i] = static_cast<uint8_t>(random.between(0, 255));
        scales[row * (k / 32) + i / 16] = 122;
      }
    }
    matrix = {codes, k / 2, scales, k / 32, 1, MOE4J_F32, nullptr, 1};
  };
  widen(drawn.experts[0].gate, kFeatures, 32, kFeatures - 64, 0);
  widen(drawn.experts[0].down, 32, kFeatures, 0, kFeatures - 64);
  const RandomInputs inputs(random, drawn, 2);
  expect_oracle_output(drawn, inputs.args);
}

TEST_F(OracleCuda, AgreesForTheLargestSituParameters) {
  Random random(28);
  RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SITU, 256, 128, 3, 2);
  for (moe4j_expert_weights& w : drawn.experts) w.alpha = w.beta = 0x1p64f;
  for (const int64_t tokens : {2, 40}) expect_oracle_output(random, drawn, tokens);
}

TEST_F(OracleCuda, LaunchesOfNoTokensDoNothing) {
  Random random(26);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 128, 4, 2);
  const Layer layer = drawn.load(device());
  const std::vector<int32_t> of_one = layer.tactics(1);
  const std::vector<int32_t> of_none = layer.tactics(0);
  EXPECT_TRUE(std::is_permutation(of_none.begin(), of_none.end(), of_one.begin(), of_one.end()));
  for (const auto& [name, id] : named_tactics(device(), layer, 0)) {
    SCOPED_TRACE(name);
    const Buffer workspace(device(), std::max<int64_t>(layer.workspace_bytes(id, 0), 1));
    moe4j_launch_args args = default_launch_args(0);
    args.tactic = id;
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.bytes();
    args.routing_logits = args.hidden_states = args.output = workspace.data();
    EXPECT_EQ(moe4j_launch(layer.get(), &args), MOE4J_OK) << moe4j_last_error();
  }
}

TEST_F(OracleCuda, LeavesCombiningToTheCallerWhenNotFinalizing) {
  Random random(16);
  for (int draw = 0; draw < 20; ++draw) {
    const RandomLayer drawn(random, random.one_of({MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}),
                            MOE4J_FORMAT_BF16, random.one_of({MOE4J_SWIGLU, MOE4J_RELU2}));
    const moe4j_layer_desc& desc = drawn.desc;
    const int64_t tokens = random.between(1, 40);
    RandomInputs inputs(random, drawn, tokens);
    inputs.args.addend = nullptr;
    const Oracle oracle(drawn);
    const Layer layer = drawn.load(device());
    const int64_t slots = tokens * drawn.slots();
    DeviceRun run(device(), layer, desc, inputs.args);
    const PoisonedBuffer rows(device(), slots * desc.hidden_size * 2);
    const PoisonedBuffer weights(device(), slots * 4);
    const PoisonedBuffer permuted(device(), slots * 4);
    run.args.do_finalize = 0;
    run.args.output = nullptr;
    run.args.permuted_output = rows.data();
    run.args.expert_weights = static_cast<float*>(weights.data());
    run.args.expanded_to_permuted = static_cast<int32_t*>(permuted.data());
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name);
      for (const PoisonedBuffer* buffer : {&rows, &weights, &permuted}) buffer->poison();
      run.launch(id);
      const auto [actual, expected] =
          check_permuted(drawn, oracle, inputs.args, rows.read<uint16_t>().data(),
                         weights.read<float>().data(), permuted.read<int32_t>().data());
      expect_near_oracle(desc, name, actual, expected);
    }
  }
}

/** Every kernel, on cases as small as rings that come round allow: what sanitizers run. */
TEST_F(OracleCuda, AgreesOnSmallCases) {
  Random random(23);
  for (const auto& [weights, activations] : {std::pair{MOE4J_FORMAT_BF16, MOE4J_FORMAT_BF16},
                                             {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16},
                                             {MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16},
                                             {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_NVFP4},
                                             {MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_MXFP8},
                                             {MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN}}) {
    const RandomLayer drawn =
        sized_layer(random, weights, activations, MOE4J_SWIGLU, 1408, 64, 3, 2);
    expect_oracle_output(random, drawn, 5);
  }
}

}  // namespace
}  // namespace moe4j::test
