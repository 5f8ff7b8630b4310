// Routing as the definitions of moe4j_routing_method say it, in double and by sorting. Shares no
// code with the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "moe4j/moe4j.h"

namespace moe4j::test {

struct Chosen {
  int32_t id;
  double weight;
};

inline double oracle_sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

inline std::vector<double> oracle_softmax(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  std::vector<double> p;
  for (const double value : x) p.push_back(std::exp(value - largest));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

/** Ids by falling score; equal scores stay in the order of `ids`, which is rising. */
inline std::vector<int32_t> oracle_top(std::vector<int32_t> ids, const std::vector<double>& score,
                                       int32_t k) {
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return score[a] > score[b]; });
  ids.resize(k);
  return ids;
}

inline std::vector<int32_t> all_ids(int32_t count) {
  std::vector<int32_t> ids(count);
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

/** One token. `bias` is empty for none. */
inline std::vector<Chosen> oracle_route(const moe4j_layer_desc& desc,
                                        const std::vector<double>& logits,
                                        const std::vector<double>& bias) {
  const int32_t k = desc.top_k;
  const auto everyone = all_ids(desc.num_experts);
  std::vector<double> sigmoid;
  for (const double logit : logits) sigmoid.push_back(oracle_sigmoid(logit));
  std::vector<double> biased = sigmoid;
  for (size_t e = 0; e < bias.size(); ++e) biased[e] += bias[e];

  std::vector<Chosen> chosen;
  const auto choose = [&](const std::vector<int32_t>& ids, const std::vector<double>& weight) {
    for (const int32_t id : ids) chosen.push_back({id, weight[id]});
  };
  const auto scale_by = [&](double factor) {
    for (Chosen& c : chosen) c.weight *= factor;
  };
  const auto sum = [&] {
    double total = 0;
    for (const Chosen& c : chosen) total += c.weight;
    return total;
  };

  switch (desc.routing_method) {
    case MOE4J_ROUTING_DEFAULT: {
      const auto p = oracle_softmax(logits);
      choose(oracle_top(everyone, p, k), p);
      break;
    }
    case MOE4J_ROUTING_RENORMALIZE: {
      const auto ids = oracle_top(everyone, logits, k);
      std::vector<double> kept;
      for (const int32_t id : ids) kept.push_back(logits[id]);
      const auto p = oracle_softmax(kept);
      for (int32_t i = 0; i < k; ++i) chosen.push_back({ids[i], p[i]});
      break;
    }
    case MOE4J_ROUTING_DEEPSEEK_V3: {
      const int32_t groups = std::max(1, desc.n_group);
      const int32_t kept_groups = std::max(1, desc.topk_group);
      const int32_t size = desc.num_experts / groups;
      std::vector<double> group_score;
      for (int32_t g = 0; g < groups; ++g) {
        std::vector<double> scores(biased.begin() + g * size, biased.begin() + (g + 1) * size);
        std::sort(scores.rbegin(), scores.rend());
        group_score.push_back(scores[0] + (size > 1 ? scores[1] : 0));
      }
      auto kept = oracle_top(all_ids(groups), group_score, kept_groups);
      std::sort(kept.begin(), kept.end());
      std::vector<int32_t> candidates;
      for (const int32_t g : kept) {
        for (int32_t e = g * size; e < (g + 1) * size; ++e) candidates.push_back(e);
      }
      choose(oracle_top(candidates, biased, k), sigmoid);
      scale_by(desc.routed_scaling_factor / (sum() + 1e-20));
      break;
    }
    case MOE4J_ROUTING_LLAMA4:
      choose(oracle_top(everyone, logits, 1), sigmoid);
      break;
    case MOE4J_ROUTING_RENORMALIZE_NAIVE: {
      const auto p = oracle_softmax(logits);
      choose(oracle_top(everyone, p, k), p);
      if (desc.norm_topk_prob != 0) scale_by(1 / sum());
      break;
    }
    case MOE4J_ROUTING_TOP_K:
      choose(oracle_top(everyone, logits, k), logits);
      break;
    case MOE4J_ROUTING_SIGMOID_RENORM:
      choose(oracle_top(everyone, sigmoid, k), sigmoid);
      if (desc.norm_topk_prob != 0) scale_by(1 / (sum() + 1e-20));
      break;
    case MOE4J_ROUTING_MINIMAX2:
      choose(oracle_top(everyone, biased, k), sigmoid);
      scale_by(desc.routed_scaling_factor / (sum() + 1e-20));
      break;
    case MOE4J_ROUTING_SIGMOID:
      choose(oracle_top(everyone, sigmoid, k), sigmoid);
      break;
    case MOE4J_ROUTING_TOP_K_SIGMOID:
      choose(oracle_top(everyone, logits, k), sigmoid);
      break;
  }
  return chosen;
}

}  // namespace moe4j::test
