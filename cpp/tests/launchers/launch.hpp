// Running a launch in a test, and what the oracle says it should give.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "launchers/oracle.hpp"
#include "launchers/parallel.hpp"
#include "launchers/random_layer.hpp"
#include "moe4j/moe4j.hpp"
#include "routing/oracle.hpp"

namespace moe4j::test {

/** The tactics of a device for a layer, by name. */
inline std::vector<std::pair<std::string, int32_t>> named_tactics(const Device& device,
                                                                  const Layer& layer,
                                                                  int64_t tokens) {
  std::vector<std::pair<std::string, int32_t>> tactics;
  for (const int32_t id : layer.tactics(tokens)) tactics.emplace_back(device.tactic_name(id), id);
  return tactics;
}

/** An array that is all 0xFF (a NaN, a code that means nothing) before a launch, with a guard
 * behind it that a launch must not touch. */
template <class T>
class Poisoned {
 public:
  explicit Poisoned(int64_t count) : count_(static_cast<size_t>(count)), bytes_(size(), 0xFF) {}

  T* data() { return reinterpret_cast<T*>(bytes_.data()); }
  T operator[](int64_t i) const { return reinterpret_cast<const T*>(bytes_.data())[i]; }
  int64_t count() const { return static_cast<int64_t>(count_); }

  bool guard_is_intact() const {
    for (size_t i = count_ * sizeof(T); i < bytes_.size(); ++i) {
      if (bytes_[i] != 0xFF) return false;
    }
    return true;
  }
  bool is_untouched() const {
    return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t b) { return b == 0xFF; });
  }
  bool operator==(const Poisoned& other) const { return bytes_ == other.bytes_; }

 private:
  static constexpr size_t kGuard = 64;
  size_t size() const { return count_ * sizeof(T) + kGuard; }

  size_t count_;
  std::vector<uint8_t> bytes_;
};

/** Arguments that route from `logits` instead. */
inline moe4j_launch_args with_logits(moe4j_launch_args args, const std::vector<float>& logits) {
  args.topk_ids = nullptr;
  args.topk_packed = nullptr;
  args.topk_weights = nullptr;
  args.routing_mode = MOE4J_FROM_LOGITS;
  args.routing_logits = logits.data();
  return args;
}

/** Everything that a launch writes. */
struct Outputs {
  Outputs(const moe4j_layer_desc& desc, const moe4j_launch_args& inputs)
      : args(inputs),
        output(inputs.tokens * desc.hidden_size * (inputs.output_dtype == MOE4J_F32 ? 2 : 1)),
        replay(inputs.tokens * desc.top_k),
        ids(inputs.tokens * desc.top_k),
        weights(inputs.tokens * desc.top_k) {
    args.output = output.data();
    args.routing_replay_out = replay.data();
    args.topk_ids_out = ids.data();
    args.topk_weights_out = weights.data();
  }

  std::vector<double> values() const {
    std::vector<double> values;
    for (int64_t i = 0; i < output.count(); ++i) {
      if (args.output_dtype == MOE4J_BF16) {
        values.push_back(oracle_bf16(output[i]));
      } else if (i % 2 == 0) {
        const uint32_t bits = output[i] | static_cast<uint32_t>(output[i + 1]) << 16;
        float value;
        std::memcpy(&value, &bits, sizeof(value));
        values.push_back(value);
      }
    }
    return values;
  }

  void expect_guards_intact() const {
    EXPECT_TRUE(output.guard_is_intact());
    EXPECT_TRUE(replay.guard_is_intact());
    EXPECT_TRUE(ids.guard_is_intact());
    EXPECT_TRUE(weights.guard_is_intact());
  }

  moe4j_launch_args args;
  Poisoned<uint16_t> output;
  Poisoned<int16_t> replay;
  Poisoned<int32_t> ids;
  Poisoned<float> weights;
};

/** Gives `args` a workspace full of garbage and launches. */
inline int32_t launch_with(const Device& device, const Layer& layer, int32_t tactic,
                           moe4j_launch_args args) {
  args.tactic = tactic;
  args.workspace_bytes = layer.workspace_bytes(tactic, args.tokens);
  const Buffer workspace(device, args.workspace_bytes);
  std::memset(workspace.data(), 0xFF, static_cast<size_t>(args.workspace_bytes));
  args.workspace = workspace.data();
  return moe4j_launch(layer.get(), &args);
}

inline Outputs must_launch(const Device& device, const Layer& layer, const moe4j_layer_desc& desc,
                           int32_t tactic, const moe4j_launch_args& inputs) {
  Outputs outputs(desc, inputs);
  EXPECT_EQ(launch_with(device, layer, tactic, outputs.args), MOE4J_OK) << moe4j_last_error();
  outputs.expect_guards_intact();
  return outputs;
}

/** A token's experts and weights, from the inputs alone. */
inline std::vector<Chosen> oracle_chosen(const moe4j_layer_desc& desc,
                                         const moe4j_launch_args& args, int64_t token) {
  std::vector<Chosen> chosen;
  if (args.routing_mode == MOE4J_FROM_LOGITS) {
    const auto* logits = static_cast<const float*>(args.routing_logits) + token * desc.num_experts;
    return oracle_route(desc, std::vector<double>(logits, logits + desc.num_experts), {});
  }
  for (int64_t slot = token * desc.top_k; slot < (token + 1) * desc.top_k; ++slot) {
    if (args.routing_mode == MOE4J_PACKED) {
      chosen.push_back({args.topk_packed[slot] >> 16,
                        oracle_bf16(static_cast<uint16_t>(args.topk_packed[slot] & 0xFFFF))});
    } else if (args.topk_weights_dtype == MOE4J_F32) {
      chosen.push_back({args.topk_ids[slot], static_cast<const float*>(args.topk_weights)[slot]});
    } else {
      chosen.push_back({args.topk_ids[slot],
                        oracle_bf16(static_cast<const uint16_t*>(args.topk_weights)[slot])});
    }
  }
  return chosen;
}

/** The experts of a layer, decoded once for any number of launches. */
class Oracle {
 public:
  explicit Oracle(const RandomLayer& layer) : desc_(layer.desc) {
    for (const auto& weights : layer.experts) experts_.emplace_back(desc_, weights);
  }

  /** GEMM2's output of a slot; empty where its expert is not local. */
  std::vector<double> slot_output(const moe4j_launch_args& args, const Matrix& x, int64_t token,
                                  int64_t slot, int32_t expert) const {
    const int32_t local = slot < desc_.top_k
                              ? expert - desc_.local_expert_offset
                              : desc_.local_num_experts + static_cast<int32_t>(slot - desc_.top_k);
    if (slot < desc_.top_k && (local < 0 || local >= desc_.local_num_experts)) return {};
    return oracle_expert_output(desc_, args, experts_[static_cast<size_t>(local)],
                                x[static_cast<size_t>(token)], token, slot);
  }

  /** The finalized output [T, H]. */
  std::vector<double> output(const moe4j_launch_args& args) const {
    std::vector<int64_t> tokens(static_cast<size_t>(args.tokens));
    std::iota(tokens.begin(), tokens.end(), 0);
    return rows(args, tokens);
  }

  /** The finalized output of some tokens. */
  std::vector<double> rows(const moe4j_launch_args& args,
                           const std::vector<int64_t>& tokens) const {
    const Matrix x = oracle_hidden_states(desc_, args);
    const auto h = static_cast<size_t>(desc_.hidden_size);
    std::vector<double> output(tokens.size() * h);
    parallel_for(static_cast<int64_t>(tokens.size()), [&](int64_t row) {
      const int64_t t = tokens[static_cast<size_t>(row)];
      double* sum = output.data() + static_cast<size_t>(row) * h;
      if (args.addend != nullptr) {
        for (size_t i = 0; i < h; ++i) sum[i] = args.addend[static_cast<size_t>(t) * h + i];
      }
      std::vector<Chosen> chosen = oracle_chosen(desc_, args, t);
      for (int32_t s = 0; s < desc_.num_fused_shared_experts; ++s) chosen.push_back({-1, 1.0});
      for (size_t slot = 0; slot < chosen.size(); ++slot) {
        const auto y = slot_output(args, x, t, static_cast<int64_t>(slot), chosen[slot].id);
        for (size_t i = 0; i < y.size(); ++i) sum[i] += chosen[slot].weight * y[i];
      }
    });
    return output;
  }

 private:
  moe4j_layer_desc desc_;
  std::vector<OracleExpert> experts_;
};

/**
 * What a launch with do_finalize = 0 wrote: weights by slot, and rows in the order that is
 * promised, by expert, then token. Answers the rows that slots have and what the oracle says they
 * should be.
 */
inline std::pair<std::vector<double>, std::vector<double>> check_permuted(
    const RandomLayer& drawn, const Oracle& oracle, const moe4j_launch_args& args,
    const uint16_t* rows, const float* weights, const int32_t* row_of) {
  const moe4j_layer_desc& desc = drawn.desc;
  const Matrix x = oracle_hidden_states(desc, args);
  std::vector<std::tuple<int32_t, int64_t, int64_t>> order;
  std::vector<double> actual;
  std::vector<double> expected;
  for (int64_t t = 0; t < args.tokens; ++t) {
    std::vector<Chosen> chosen = oracle_chosen(desc, args, t);
    for (int32_t s = 0; s < desc.num_fused_shared_experts; ++s) {
      chosen.push_back({desc.num_experts + s, 1.0});
    }
    for (int64_t s = 0; s < drawn.slots(); ++s) {
      const int64_t slot = t * drawn.slots() + s;
      const Chosen& choice = chosen[static_cast<size_t>(s)];
      EXPECT_NEAR(weights[slot], choice.weight, 1e-6 * std::abs(choice.weight));
      const auto y = oracle.slot_output(args, x, t, s, choice.id);
      if (y.empty()) {
        EXPECT_EQ(row_of[slot], -1);
        continue;
      }
      if (row_of[slot] < 0 || row_of[slot] >= args.tokens * drawn.slots()) {
        ADD_FAILURE() << "row " << row_of[slot] << " of slot " << slot;
        continue;
      }
      order.emplace_back(choice.id, t, row_of[slot]);
      const uint16_t* const row = rows + row_of[slot] * int64_t{desc.hidden_size};
      std::transform(row, row + desc.hidden_size, std::back_inserter(actual), oracle_bf16);
      expected.insert(expected.end(), y.begin(), y.end());
    }
  }
  std::sort(order.begin(), order.end());
  for (size_t p = 0; p < order.size(); ++p) {
    EXPECT_EQ(std::get<2>(order[p]), static_cast<int64_t>(p));
  }
  return {actual, expected};
}

}  // namespace moe4j::test
