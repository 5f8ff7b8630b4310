// What suites of the whole operation on a CUDA device share: the comparison with the oracle.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>

#include "cuda/device_launch.hpp"

namespace moe4j::test {

/** Relative L2 of `elements` values: h, GEMM2's rows and the output round to BF16, 2^-9 each. */
inline double tolerance(const moe4j_layer_desc& desc, const std::string& tactic, size_t elements) {
  const double few = elements < 256 ? 1.5 : 1.0;  // whose roundings do not average out
  if (desc.activation_format == MOE4J_FORMAT_BF16) return few * 4e-3;
  // Where h is quantized, a value near a tie may take the neighbouring code; FP8 kernels bring h to
  // its codes by way of BF16.
  return few * (tactic.rfind("sm90.fp8.", 0) == 0 ? 4e-2 : 8e-3);
}

/** `most` of `tokens` tokens, evenly spread, the first and the last among them; or all. */
inline std::vector<int64_t> sampled_tokens(int64_t tokens, int64_t most) {
  const int64_t count = std::min(tokens, most);
  std::vector<int64_t> sample;
  for (int64_t i = 0; i < count; ++i) {
    sample.push_back(count == 1 ? 0 : i * (tokens - 1) / (count - 1));
  }
  return sample;
}

/** Rows of a matrix with `columns` columns. */
inline std::vector<double> rows_of(const std::vector<double>& matrix, int64_t columns,
                                   const std::vector<int64_t>& rows) {
  std::vector<double> picked;
  for (const int64_t row : rows) {
    picked.insert(picked.end(), matrix.begin() + row * columns,
                  matrix.begin() + (row + 1) * columns);
  }
  return picked;
}

inline bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

inline std::string describe(const moe4j_layer_desc& d, int64_t tokens) {
  return "weights " + std::to_string(d.weight_format) + " activations " +
         std::to_string(d.activation_format) + " activation " + std::to_string(d.activation) +
         " H " + std::to_string(d.hidden_size) + " I " + std::to_string(d.intermediate_size) +
         " E " + std::to_string(d.num_experts) + " k " + std::to_string(d.top_k) + " S " +
         std::to_string(d.num_fused_shared_experts) + " T " + std::to_string(tokens);
}

/** At its end, each test says how far from the oracle each tactic came. */
class FusedMoeCuda : public CudaTest {
 protected:
  /** Every tactic on inputs drawn at random: all elements written, values and routing right. */
  void expect_oracle_output(Random& random, const RandomLayer& drawn, int64_t tokens) {
    SCOPED_TRACE(describe(drawn.desc, tokens));
    expect_oracle_output(drawn, RandomInputs(random, drawn, tokens).args);
  }

  void expect_oracle_output(const RandomLayer& drawn, const moe4j_launch_args& inputs) {
    constexpr int64_t kMostTokens = 300;
    const moe4j_layer_desc& desc = drawn.desc;
    const Layer layer = drawn.load(device());
    const auto sample = sampled_tokens(inputs.tokens, kMostTokens);
    const std::vector<double> expected = Oracle(drawn).rows(inputs, sample);
    const auto tried = named_tactics(device(), layer, inputs.tokens);
    ASSERT_FALSE(tried.empty());
    DeviceRun run(device(), layer, desc, inputs);
    for (const auto& [name, id] : tried) {
      SCOPED_TRACE(name);
      run.poison();
      run.launch(id);
      const auto values = run.values();
      EXPECT_TRUE(all_finite(values)) << "an element was not written";
      expect_near_oracle(desc, name, rows_of(values, desc.hidden_size, sample), expected);
      expect_routing(desc, inputs, run);
    }
  }

  void expect_near_oracle(const moe4j_layer_desc& desc, const std::string& tactic,
                          const std::vector<double>& actual, const std::vector<double>& expected) {
    const double error = relative_l2(actual, expected);
    EXPECT_LT(error, tolerance(desc, tactic, expected.size()));
    const std::string row =
        tactic + (desc.activation_format == MOE4J_FORMAT_BF16 ? "" : ", quantized activations");
    worst_[row] = std::max(worst_[row], error);
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
    for (const auto& [tactic, error] : worst_) {
      std::printf("             %-58s worst relative L2 %.2e\n", tactic.c_str(), error);
    }
  }

 private:
  std::map<std::string, double> worst_;
};

}  // namespace moe4j::test
