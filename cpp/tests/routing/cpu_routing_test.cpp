#include "routing/cpu_routing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "formats/bf16.hpp"
#include "routing/oracle.hpp"
#include "routing/routing_methods.hpp"

namespace moe4j {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kMethodCount = 10;

moe4j_layer_desc routing_desc(int32_t method, int32_t experts, int32_t top_k) {
  moe4j_layer_desc desc{};
  desc.routing_method = method;
  desc.num_experts = desc.local_num_experts = experts;
  desc.top_k = method == MOE4J_ROUTING_LLAMA4 ? 1 : top_k;
  desc.norm_topk_prob = 1;
  desc.routed_scaling_factor = 1;
  return desc;
}

/** What a launch would bring, owned. */
struct Inputs {
  std::vector<float> logits;
  std::vector<uint16_t> bf16_logits;
  std::vector<float> bias;

  moe4j_launch_args args(int64_t tokens) const {
    moe4j_launch_args args{};
    args.tokens = tokens;
    args.routing_mode = MOE4J_FROM_LOGITS;
    args.routing_logits_dtype = bf16_logits.empty() ? MOE4J_F32 : MOE4J_BF16;
    args.routing_logits =
        bf16_logits.empty() ? static_cast<const void*>(logits.data()) : bf16_logits.data();
    args.routing_bias = bias.empty() ? nullptr : bias.data();
    return args;
  }
};

struct Routed {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

Routed must_route(const moe4j_layer_desc& desc, const moe4j_launch_args& args) {
  Routed routed;
  routed.ids.assign(args.tokens * desc.top_k, -7);
  routed.weights.assign(args.tokens * desc.top_k, kNaN);
  const Status status =
      route_tokens(desc, args, 0, args.tokens, routed.ids.data(), routed.weights.data());
  EXPECT_TRUE(status.is_ok()) << status.message();
  return routed;
}

/** The message with which a routing is refused. */
std::string refusal(const moe4j_layer_desc& desc, const moe4j_launch_args& args) {
  std::vector<int32_t> ids(args.tokens * desc.top_k);
  std::vector<float> weights(args.tokens * desc.top_k);
  const Status status = route_tokens(desc, args, 0, args.tokens, ids.data(), weights.data());
  EXPECT_EQ(status.code(), MOE4J_INVALID_ARGUMENT);
  return status.message();
}

/** How many draws, and of what kind, an agreement test makes. */
struct Draws {
  const char* name;
  bool ties;  // logits and biases on a coarse grid, so that many are equal
  bool bf16;
  bool bias;
};

class Agreement : public testing::TestWithParam<std::tuple<int32_t, Draws>> {};

TEST_P(Agreement, ChoosesAndWeighsAsTheOracleDoes) {
  const auto& [method, draws] = GetParam();
  std::mt19937 random(static_cast<unsigned>(method) + 1000);
  std::normal_distribution<float> normal(0, 3);
  const auto draw = [&](float grid) {
    const float value = normal(random);
    return draws.ties ? grid * std::round(value / grid) : value;
  };
  constexpr int64_t kTokens = 40;
  for (const auto& [experts, top_k] : std::vector<std::pair<int32_t, int32_t>>{
           {1, 1}, {2, 2}, {8, 2}, {32, 4}, {128, 8}, {256, 8}, {384, 8}, {33, 32}, {1024, 32}}) {
    moe4j_layer_desc desc = routing_desc(method, experts, top_k);
    desc.norm_topk_prob = static_cast<int32_t>(random() % 2);
    if (kRoutingMethods[method].has_bias) desc.routed_scaling_factor = 2.5f;
    if (method == MOE4J_ROUTING_DEEPSEEK_V3 && experts % 8 == 0) {
      desc.n_group = 8;
      desc.topk_group = 4;
      if (top_k > experts / 2) continue;
    }
    Inputs inputs;
    for (int64_t i = 0; i < kTokens * experts; ++i) {
      inputs.logits.push_back(draw(0.5f));
      if (draws.bf16) {
        inputs.bf16_logits.push_back(f32_to_bf16(inputs.logits.back()));
        inputs.logits.back() = bf16_to_f32(inputs.bf16_logits.back());
      }
    }
    if (draws.bias && kRoutingMethods[method].has_bias) {
      for (int32_t e = 0; e < experts; ++e) inputs.bias.push_back(draw(4.0f) / 16);
    }
    const Routed routed = must_route(desc, inputs.args(kTokens));

    for (int64_t t = 0; t < kTokens; ++t) {
      const auto row = inputs.logits.begin() + t * experts;
      const auto expected =
          test::oracle_route(desc, {row, row + experts}, {inputs.bias.begin(), inputs.bias.end()});
      for (int32_t i = 0; i < desc.top_k; ++i) {
        const int64_t slot = t * desc.top_k + i;
        ASSERT_EQ(routed.ids[slot], expected[i].id)
            << experts << " experts, token " << t << ", slot " << i;
        ASSERT_NEAR(routed.weights[slot], expected[i].weight,
                    1e-7 * std::fabs(expected[i].weight) + 1e-37);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Routing, Agreement,
                         testing::Combine(testing::Range(0, kMethodCount),
                                          testing::Values(Draws{"F32", false, false, false},
                                                          Draws{"F32Bias", false, false, true},
                                                          Draws{"BF16Bias", false, true, true},
                                                          Draws{"TiesBias", true, false, true},
                                                          Draws{"Ties", true, true, false})),
                         [](const auto& info) {
                           return "Method" + std::to_string(std::get<0>(info.param)) +
                                  std::get<1>(info.param).name;
                         });

class EveryMethod : public testing::TestWithParam<int32_t> {};

TEST_P(EveryMethod, AllLogitsEqualChoosesTheLowestIds) {
  const moe4j_layer_desc desc = routing_desc(GetParam(), 16, 4);
  Inputs inputs;
  inputs.logits.assign(16, 0.75f);
  const Routed routed = must_route(desc, inputs.args(1));
  for (int32_t i = 0; i < desc.top_k; ++i) EXPECT_EQ(routed.ids[i], i);
}

/** Sigmoids that F64 rounds to 1, and parts of a softmax that it rounds to 0, are no ties. */
TEST_P(EveryMethod, ChoosesByLogitsWhoseScoresRoundToTheSame) {
  const int32_t method = GetParam();
  if (kRoutingMethods[method].has_bias) return;  // the rounded score ranks
  const moe4j_layer_desc desc = routing_desc(method, 4, 2);
  Inputs inputs;
  inputs.logits = {40, 60, 50, 39, -2000, 0, -1000, -3000};
  const Routed routed = must_route(desc, inputs.args(2));
  const std::vector<int32_t> expected =
      desc.top_k == 1 ? std::vector<int32_t>{1, 1} : std::vector<int32_t>{1, 2, 1, 2};
  EXPECT_EQ(routed.ids, expected);
}

TEST_P(EveryMethod, InfiniteLogitsGiveDistinctExpertsAndNoNaN) {
  const moe4j_layer_desc desc = routing_desc(GetParam(), 16, 4);
  const std::vector<std::vector<float>> patterns = {
      std::vector<float>(16, kInfinity),
      std::vector<float>(16, -kInfinity),
      {0, kInfinity, 1, kInfinity, -kInfinity, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, 1, -kInfinity, -kInfinity,
       -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, 3},
      {3e38f, -3e38f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
  for (const auto& logits : patterns) {
    Inputs inputs;
    inputs.logits = logits;
    const Routed routed = must_route(desc, inputs.args(1));
    std::set<int32_t> distinct(routed.ids.begin(), routed.ids.end());
    EXPECT_EQ(distinct.size(), static_cast<size_t>(desc.top_k));
    EXPECT_GE(*distinct.begin(), 0);
    EXPECT_LT(*distinct.rbegin(), 16);
    const float largest = *std::max_element(logits.begin(), logits.end());
    EXPECT_EQ(logits[routed.ids[0]], largest);
    for (const float weight : routed.weights) EXPECT_FALSE(std::isnan(weight));
  }
}

TEST_P(EveryMethod, RowsDoNotDependOnHowTheyAreDividedAmongThreads) {
  const moe4j_layer_desc desc = routing_desc(GetParam(), 64, 6);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  Inputs inputs;
  for (int i = 0; i < 20 * 64; ++i) inputs.logits.push_back(normal(random));
  const moe4j_launch_args args = inputs.args(20);
  const Routed whole = must_route(desc, args);
  Routed parts = whole;
  std::fill(parts.ids.begin(), parts.ids.end(), -1);
  std::fill(parts.weights.begin(), parts.weights.end(), kNaN);
  for (const auto& [begin, end] : {std::pair{13, 20}, {0, 1}, {1, 1}, {1, 13}}) {
    ASSERT_TRUE(
        route_tokens(desc, args, begin, end, parts.ids.data(), parts.weights.data()).is_ok());
  }
  EXPECT_EQ(parts.ids, whole.ids);
  EXPECT_EQ(parts.weights, whole.weights);
}

TEST_P(EveryMethod, NamesANaNLogit) {
  const moe4j_layer_desc desc = routing_desc(GetParam(), 16, 4);
  Inputs inputs;
  inputs.logits.assign(3 * 16, 0.5f);
  inputs.logits[2 * 16 + 11] = kNaN;
  EXPECT_EQ(refusal(desc, inputs.args(3)),
            "routing_logits: found nan at [2, 11], expected numbers");
  for (const float logit : inputs.logits) inputs.bf16_logits.push_back(f32_to_bf16(logit));
  EXPECT_EQ(refusal(desc, inputs.args(3)),
            "routing_logits: found nan at [2, 11], expected numbers");
}

INSTANTIATE_TEST_SUITE_P(Routing, EveryMethod, testing::Range(0, kMethodCount));

TEST(RoutingBias, RefusesWhatIsNotFinite) {
  for (const int32_t method : {MOE4J_ROUTING_DEEPSEEK_V3, MOE4J_ROUTING_MINIMAX2}) {
    for (const float bad : {kNaN, kInfinity, -kInfinity}) {
      Inputs inputs;
      inputs.logits.assign(8, 0.0f);
      inputs.bias.assign(8, 0.0f);
      inputs.bias[5] = bad;
      const std::string message = refusal(routing_desc(method, 8, 2), inputs.args(1));
      EXPECT_NE(message.find("routing_bias: found"), std::string::npos) << message;
      EXPECT_NE(message.find("[5]"), std::string::npos) << message;
    }
  }
}

TEST(RoutingBias, SelectsButDoesNotWeigh) {
  Inputs inputs;
  inputs.logits = {0, 0, 0, 0};
  inputs.bias = {0, 10, 0, 5};
  const Routed routed = must_route(routing_desc(MOE4J_ROUTING_MINIMAX2, 4, 2), inputs.args(1));
  EXPECT_EQ(routed.ids, (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(routed.weights, (std::vector<float>{0.5f, 0.5f}));
}

TEST(DeepSeekV3, ExpertsOutsideTheKeptGroupsAreNeverChosen) {
  // Expert 0 is by far the best, but the two best of group 1 together beat those of group 0.
  moe4j_layer_desc desc = routing_desc(MOE4J_ROUTING_DEEPSEEK_V3, 6, 2);
  desc.n_group = 2;
  desc.topk_group = 1;
  Inputs inputs;
  inputs.logits = {4, -9, -9, 1, 1, -9};
  EXPECT_EQ(must_route(desc, inputs.args(1)).ids, (std::vector<int32_t>{3, 4}));
}

class Precomputed : public testing::Test {
 protected:
  moe4j_launch_args unpacked() const {
    moe4j_launch_args args{};
    args.tokens = 4;
    args.routing_mode = MOE4J_UNPACKED;
    args.topk_ids = ids_.data();
    args.topk_weights = weights_.data();
    args.topk_weights_dtype = MOE4J_F32;
    return args;
  }

  moe4j_launch_args packed() {
    packed_.clear();
    for (size_t i = 0; i < ids_.size(); ++i) {
      packed_.push_back(
          static_cast<int32_t>(static_cast<uint32_t>(ids_[i]) << 16 | f32_to_bf16(weights_[i])));
    }
    moe4j_launch_args args{};
    args.tokens = 4;
    args.routing_mode = MOE4J_PACKED;
    args.topk_packed = packed_.data();
    return args;
  }

  moe4j_layer_desc desc_ = routing_desc(MOE4J_ROUTING_DEFAULT, 32, 2);
  std::vector<int32_t> ids_ = {0, 31, 5, 4, 7, 9, 30, 2};
  std::vector<float> weights_ = {0.5f, -0.25f, 1, 0, 2.5f, 0.125f, -1, kInfinity};
  std::vector<int32_t> packed_;
};

TEST_F(Precomputed, IsTakenAsItIs) {
  Routed routed = must_route(desc_, unpacked());
  EXPECT_EQ(routed.ids, ids_);
  EXPECT_EQ(routed.weights, weights_);
  routed = must_route(desc_, packed());
  EXPECT_EQ(routed.ids, ids_);
  EXPECT_EQ(routed.weights, weights_);
  std::vector<uint16_t> bf16;
  for (const float weight : weights_) bf16.push_back(f32_to_bf16(weight));
  moe4j_launch_args args = unpacked();
  args.topk_weights = bf16.data();
  args.topk_weights_dtype = MOE4J_BF16;
  EXPECT_EQ(must_route(desc_, args).weights, weights_);
}

TEST_F(Precomputed, RefusesIdsOutOfRange) {
  for (const int32_t bad : {-1, 32, 99, 32767, -32768}) {
    ids_[7] = bad;
    const std::string found =
        "found expert " + std::to_string(bad) + " at [3, 1], expected 0 <= id < 32";
    EXPECT_EQ(refusal(desc_, unpacked()), "topk_ids: " + found);
    EXPECT_EQ(refusal(desc_, packed()), "topk_packed: " + found);
  }
}

TEST_F(Precomputed, RefusesAnExpertTwiceInOneToken) {
  ids_[5] = ids_[4];
  const std::string found =
      "found expert 7 at [2, 0] and [2, 1], expected each expert at most once a token";
  EXPECT_EQ(refusal(desc_, unpacked()), "topk_ids: " + found);
  EXPECT_EQ(refusal(desc_, packed()), "topk_packed: " + found);
}

TEST_F(Precomputed, RefusesNaNWeights) {
  weights_[3] = kNaN;
  const std::string found = "found a nan weight at [1, 1], expected numbers";
  EXPECT_EQ(refusal(desc_, unpacked()), "topk_weights: " + found);
  EXPECT_EQ(refusal(desc_, packed()), "topk_packed: " + found);
}

TEST(CheckRouting, NamesTheFieldThatContradicts) {
  const auto message = [](auto change) {
    moe4j_layer_desc desc = routing_desc(MOE4J_ROUTING_DEEPSEEK_V3, 32, 4);
    desc.n_group = 4;
    desc.topk_group = 2;
    change(desc);
    const Status status = check_routing(desc);
    EXPECT_EQ(status.code(), MOE4J_INVALID_ARGUMENT);
    return status.message().substr(0, status.message().find(':'));
  };
  using Desc = moe4j_layer_desc;
  EXPECT_EQ(message([](Desc& d) { d.routing_method = 10; }), "routing_method");
  EXPECT_EQ(message([](Desc& d) { d.routing_method = -1; }), "routing_method");
  EXPECT_EQ(message([](Desc& d) { d.num_experts = 0; }), "num_experts");
  EXPECT_EQ(message([](Desc& d) { d.num_experts = 1025; }), "num_experts");
  EXPECT_EQ(message([](Desc& d) { d.top_k = 0; }), "top_k");
  EXPECT_EQ(message([](Desc& d) { d.top_k = 33; }), "top_k");
  EXPECT_EQ(message([](Desc& d) { d.norm_topk_prob = 2; }), "norm_topk_prob");
  EXPECT_EQ(message([](Desc& d) { d.routed_scaling_factor = kNaN; }), "routed_scaling_factor");
  EXPECT_EQ(message([](Desc& d) { d.n_group = -1; }), "n_group");
  EXPECT_EQ(message([](Desc& d) { d.n_group = 5; }), "n_group");
  EXPECT_EQ(message([](Desc& d) { d.topk_group = 0; }), "topk_group");
  EXPECT_EQ(message([](Desc& d) { d.topk_group = 5; }), "topk_group");
  EXPECT_EQ(message([](Desc& d) { d.top_k = 17; }), "topk_group");
  EXPECT_EQ(message([](Desc& d) { d.routing_method = MOE4J_ROUTING_DEFAULT; }), "n_group");
  EXPECT_EQ(message([](Desc& d) {
              d.n_group = d.topk_group = 0;
              d.routing_method = MOE4J_ROUTING_LLAMA4;
            }),
            "top_k");
  EXPECT_EQ(message([](Desc& d) {
              d.n_group = d.topk_group = 1;
              d.routing_method = MOE4J_ROUTING_DEFAULT;
              d.routed_scaling_factor = 2;
            }),
            "routed_scaling_factor");
}

}  // namespace
}  // namespace moe4j
