// FP8_PER_TOKEN activations on a CUDA device: which tactics a layer gets, and how exact they are.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "cuda/device_launch.hpp"

namespace moe4j::test {
namespace {

using Fp8PerToken = CudaTest;

bool is_fp8(const std::string& tactic) { return tactic.rfind("sm90.fp8.", 0) == 0; }

bool on_hopper(const Device& device) { return device.info().compute_capability == 90; }

/** One block scale of a matrix. */
uint8_t& block_scale(const moe4j_matrix& matrix, int64_t row, int64_t block) {
  return static_cast<uint8_t*>(
      const_cast<void*>(matrix.scales))[row * matrix.scale_row_stride + block];
}

/** The same block scale everywhere. */
void set_block_scales(const moe4j_matrix& matrix, int64_t rows, int64_t blocks, uint8_t scale) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t block = 0; block < blocks; ++block) block_scale(matrix, row, block) = scale;
  }
}

uint8_t* row_codes(const moe4j_matrix& matrix, int64_t row) {
  return static_cast<uint8_t*>(const_cast<void*>(matrix.codes)) + row * matrix.row_stride;
}

/**
 * GEMM2 alone, as long as gpt-oss's: GEMM1 copies x, whose values E4M3 holds, so h is exact. What
 * is left are the sums of the matrix unit, which are not of F32's accuracy, and their BF16.
 */
TEST_F(Fp8PerToken, SumsLongRowsOfExactCodesToBf16Accuracy) {
  Random random(31);
  RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN,
                                  MOE4J_IDENTITY, 256, 2880, 2, 1);
  for (moe4j_expert_weights& w : drawn.experts) {
    w.gate.bias = nullptr;
    for (int64_t row = 0; row < 2880; ++row) {
      std::fill_n(row_codes(w.gate, row), 128, uint8_t{0});
      const int64_t column = row * 7 % 256;
      row_codes(w.gate, row)[column / 2] = column % 2 == 0 ? 0x02 : 0x20;  // 1
    }
    set_block_scales(w.gate, 2880, 8, 127);
  }
  const Layer layer = drawn.load(device());
  const Oracle oracle(drawn);
  for (const int64_t tokens : {5, 300}) {
    RandomInputs inputs(random, drawn, tokens);
    std::vector<uint16_t> x(static_cast<size_t>(tokens) * 256);
    for (uint16_t& value : x) {
      value = random.bf16(std::ldexp(static_cast<float>(random.between(8, 15)),
                                     -static_cast<int>(random.between(3, 7))) *
                          (random.chance(50) ? 1.0f : -1.0f));
    }
    inputs.args.hidden_states = x.data();
    inputs.args.per_token_scale = nullptr;
    inputs.args.gemm1_lora_delta = nullptr;
    inputs.args.output_dtype = MOE4J_F32;
    const std::vector<double> expected = oracle.output(inputs.args);
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      DeviceRun run(device(), layer, drawn.desc, inputs.args);
      run.launch(id);
      const double error = relative_l2(run.values(), expected);
      std::printf("             %-34s K 2880, %3d tokens: relative L2 %.2e\n", name.c_str(),
                  static_cast<int>(tokens), error);
      EXPECT_LT(error, 2.5e-3) << name;
    }
  }
}

/** What the format costs: against the oracle of exact activations. */
TEST_F(Fp8PerToken, StaysNearUnquantizedActivations) {
  Random random(32);
  RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN,
                                  MOE4J_SWIGLU, 2880, 2880, 2, 2);
  for (moe4j_expert_weights& w : drawn.experts) {  // as gpt-oss; outputs as large as inputs
    w.alpha = 1.702f;
    w.beta = 1;
    w.limit = 7;
    for (const moe4j_matrix* m : {&w.gate, &w.up, &w.down}) set_block_scales(*m, 2880, 90, 120);
  }
  const Layer layer = drawn.load(device());
  const moe4j_layer_desc desc = drawn.desc;
  RandomInputs inputs(random, drawn, 40);
  inputs.args.per_token_scale = nullptr;
  inputs.args.gemm1_lora_delta = nullptr;
  inputs.args.addend = nullptr;
  moe4j_launch_args few = inputs.args;
  few.tokens = 3;
  const std::vector<double> quantized = Oracle(drawn).output(few);
  drawn.desc.activation_format = MOE4J_FORMAT_BF16;
  const std::vector<double> exact = Oracle(drawn).output(few);
  for (const auto& [name, id] : named_tactics(device(), layer, 40)) {
    DeviceRun run(device(), layer, desc, inputs.args);
    run.launch(id);
    std::vector<double> values = run.values();
    values.resize(exact.size());
    const double to_quantized = relative_l2(values, quantized);
    const double to_exact = relative_l2(values, exact);
    std::printf("             %-34s relative L2 %.2e to quantized, %.2e to exact activations\n",
                name.c_str(), to_quantized, to_exact);
    EXPECT_LT(to_quantized, 3e-2) << name;
    EXPECT_LT(to_exact, 6e-2) << name;
  }
}

/** A row whose block scales span 2^11 is exact in E4M3; one more, and BF16 kernels take the layer.
 */
TEST_F(Fp8PerToken, TakesWeightsThatE4m3CannotHoldToBf16Kernels) {
  Random random(33);
  for (const int span : {11, 12}) {
    const RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN,
                                          MOE4J_SWIGLU, 320, 192, 3, 2);
    const moe4j_matrix& down = drawn.experts[1].down;
    for (int64_t block = 0; block < 6; ++block) {
      block_scale(down, 77, block) = static_cast<uint8_t>(124 - (block == 4 ? span : block));
    }
    std::fill_n(row_codes(down, 78), 16, uint8_t{0x80});  // 0 and -0: any scale will do
    block_scale(down, 78, 0) = 3;
    const Layer layer = drawn.load(device());
    const Oracle oracle(drawn);
    for (const int64_t tokens : {3, 50, 333}) {
      const RandomInputs inputs(random, drawn, tokens);
      const auto expected = oracle.output(inputs.args);
      for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
        EXPECT_EQ(is_fp8(name), on_hopper(device()) && span == 11) << name;
        DeviceRun run(device(), layer, drawn.desc, inputs.args);
        run.launch(id);
        EXPECT_LT(relative_l2(run.values(), expected), is_fp8(name) ? 3e-2 : 8e-3) << name;
      }
    }
  }
}

/** Several threads seal a layer, whose weights sealing packs: one does, the others are refused. */
TEST_F(Fp8PerToken, SealsOnce) {
  Random random(36);
  const RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN,
                                        MOE4J_SWIGLU, 1024, 1024, 8, 2);
  Layer layer(device(), drawn.desc);
  for (int32_t e = 0; e < 8; ++e) layer.set_expert(e, drawn.experts[static_cast<size_t>(e)]);
  const int64_t bytes_before = device().counters().live_bytes - layer.prepared_bytes();
  constexpr int kThreads = 8;
  std::atomic<int> waiting{kThreads};
  std::atomic<int> sealed{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (--waiting; waiting > 0;) {
      }
      const int32_t status = moe4j_layer_seal(layer.get());
      if (status == MOE4J_OK) ++sealed;
      if (status == MOE4J_INVALID_ARGUMENT) ++refused;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sealed, 1);
  EXPECT_EQ(refused, kThreads - 1);
  EXPECT_EQ(device().counters().live_bytes - layer.prepared_bytes(), bytes_before);
  const RandomInputs inputs(random, drawn, 20);
  const auto expected = Oracle(drawn).output(inputs.args);
  for (const auto& [name, id] : named_tactics(device(), layer, 20)) {
    DeviceRun run(device(), layer, drawn.desc, inputs.args);
    run.launch(id);
    EXPECT_LT(relative_l2(run.values(), expected), 3e-2) << name;
  }
}

/** Rows of very different sizes keep their precision: each has a scale of its own. */
TEST_F(Fp8PerToken, ScalesRowsOneByOne) {
  Random random(34);
  const RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN,
                                        MOE4J_IDENTITY, 128, 160, 1, 1);
  const moe4j_matrix& down = drawn.experts[0].down;
  for (int64_t row = 0; row < 128; ++row) {
    for (int64_t block = 0; block < 5; ++block) {
      block_scale(down, row, block) = static_cast<uint8_t>(80 + row % 64 + block);
    }
  }
  const Layer layer = drawn.load(device());
  const Oracle oracle(drawn);
  RandomInputs inputs(random, drawn, 20);
  inputs.args.addend = nullptr;
  inputs.args.output_dtype = MOE4J_F32;
  const auto expected = oracle.output(inputs.args);
  for (const auto& [name, id] : named_tactics(device(), layer, 20)) {
    EXPECT_EQ(is_fp8(name), on_hopper(device()));
    DeviceRun run(device(), layer, drawn.desc, inputs.args);
    run.launch(id);
    const auto values = run.values();
    for (size_t feature = 0; feature < 128; ++feature) {
      std::vector<double> of_feature;
      std::vector<double> should_be;
      for (size_t t = 0; t < 20; ++t) {
        of_feature.push_back(values[t * 128 + feature]);
        should_be.push_back(expected[t * 128 + feature]);
      }
      // E4M3 and chance leave up to 6e-2 of 20 values; a neighbour's scale is a factor of two off.
      EXPECT_LT(relative_l2(of_feature, should_be), 1e-1) << name << " feature " << feature;
    }
  }
}

TEST_F(Fp8PerToken, ANanSpoilsItsTokenAndNoOther) {
  Random random(35);
  const RandomLayer drawn = sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN,
                                        MOE4J_SWIGLU, 128, 96, 3, 2);
  const Layer layer = drawn.load(device());
  RandomInputs inputs(random, drawn, 30);
  auto* x = static_cast<uint16_t*>(const_cast<void*>(inputs.args.hidden_states));
  x[7 * 128 + 50] = 0x7FC0;    // NaN
  x[19 * 128 + 127] = 0xFF80;  // -infinity
  for (const auto& [name, id] : named_tactics(device(), layer, 30)) {
    DeviceRun run(device(), layer, drawn.desc, inputs.args);
    run.launch(id);
    const auto values = run.values();
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(std::isnan(values[i]), i / 128 == 7 || i / 128 == 19) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace moe4j::test
