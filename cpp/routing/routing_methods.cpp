#include "routing/routing_methods.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "routing/top_k.hpp"
#include "support/limits.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

constexpr int32_t kMethodCount = sizeof(kRoutingMethods) / sizeof(kRoutingMethods[0]);

double sigmoid(double logit) { return 1 / (1 + std::exp(-logit)); }

/** The scores of all experts. Infinite logits give the limits: several +inf share a softmax. */
void compute_scores(Score score, int32_t experts, const double* logits, double* scores) {
  switch (score) {
    case Score::kLogit:
      std::copy_n(logits, experts, scores);
      return;
    case Score::kSigmoid:
      std::transform(logits, logits + experts, scores, sigmoid);
      return;
    case Score::kSoftmax: {
      const double largest = *std::max_element(logits, logits + experts);
      double sum = 0;
      for (int32_t e = 0; e < experts; ++e) {
        // inf - inf would be NaN.
        scores[e] = logits[e] == largest ? 1 : std::exp(logits[e] - largest);
        sum += scores[e];
      }
      for (int32_t e = 0; e < experts; ++e) scores[e] /= sum;
      return;
    }
  }
}

/** The sum of the two best scores of a group, or its only score. */
double group_score(const double* scores, int32_t size) {
  double best = -std::numeric_limits<double>::infinity();
  double second = best;
  for (int32_t i = 0; i < size; ++i) {
    if (scores[i] > best) {
      second = best;
      best = scores[i];
    } else {
      second = std::max(second, scores[i]);
    }
  }
  return size == 1 ? best : best + second;
}

/** Marks the groups that stay in the competition: the `kept` best, ties to the lower group. */
void keep_groups(const moe4j_layer_desc& desc, const double* scores, bool* keeps) {
  double group_scores[kMaxExperts];
  const int32_t size = desc.num_experts / desc.n_group;
  for (int32_t g = 0; g < desc.n_group; ++g) {
    group_scores[g] = group_score(scores + g * size, size);
  }
  for (int32_t g = 0; g < desc.n_group; ++g) {
    int32_t better = 0;
    for (int32_t other = 0; other < desc.n_group; ++other) {
      better += group_scores[other] > group_scores[g] ||
                (group_scores[other] == group_scores[g] && other < g);
    }
    keeps[g] = better < desc.topk_group;
  }
}

bool has_groups(const moe4j_layer_desc& desc) { return desc.n_group > 1; }

}  // namespace

Status check_routing(const moe4j_layer_desc& desc) noexcept {
  if (desc.routing_method < 0 || desc.routing_method >= kMethodCount) {
    return invalid_argument("routing_method: found %d, expected 0 <= routing_method < %d",
                            desc.routing_method, kMethodCount);
  }
  const RoutingMethod& method = routing_method(desc);
  const int32_t max_top_k = std::min(desc.num_experts, kMaxTopK);
  if (desc.num_experts < 1 || desc.num_experts > kMaxExperts) {
    return invalid_argument("num_experts: found %d, expected 1 <= num_experts <= %d",
                            desc.num_experts, kMaxExperts);
  }
  if (desc.top_k < 1 || desc.top_k > max_top_k) {
    return invalid_argument("top_k: found %d, expected 1 <= top_k <= %d for num_experts %d",
                            desc.top_k, max_top_k, desc.num_experts);
  }
  if (desc.routing_method == MOE4J_ROUTING_LLAMA4 && desc.top_k != 1) {
    return invalid_argument("top_k: found %d, expected 1 for Llama4 routing", desc.top_k);
  }
  if (desc.norm_topk_prob != 0 && desc.norm_topk_prob != 1) {
    return invalid_argument("norm_topk_prob: found %d, expected 0 or 1", desc.norm_topk_prob);
  }
  if (!std::isfinite(desc.routed_scaling_factor) ||
      (!method.has_bias && desc.routed_scaling_factor != 1)) {
    return invalid_argument("routed_scaling_factor: found %g, expected %s for %s routing",
                            static_cast<double>(desc.routed_scaling_factor),
                            method.has_bias ? "a finite number" : "1", method.name);
  }
  if (!has_groups(desc)) {
    if (desc.n_group < 0) {
      return invalid_argument("n_group: found %d, expected 0 or more", desc.n_group);
    }
    if (desc.topk_group < 0 || desc.topk_group > 1) {
      return invalid_argument("topk_group: found %d, expected 0 or 1 for n_group %d",
                              desc.topk_group, desc.n_group);
    }
    return Status::ok();
  }
  if (desc.routing_method != MOE4J_ROUTING_DEEPSEEK_V3) {
    return invalid_argument("n_group: found %d, expected 0 or 1 for %s routing", desc.n_group,
                            method.name);
  }
  if (desc.num_experts % desc.n_group != 0) {
    return invalid_argument("n_group: found %d, expected a divisor of num_experts %d", desc.n_group,
                            desc.num_experts);
  }
  if (desc.topk_group < 1 || desc.topk_group > desc.n_group) {
    return invalid_argument("topk_group: found %d, expected 1 <= topk_group <= n_group %d",
                            desc.topk_group, desc.n_group);
  }
  const int32_t candidates = desc.topk_group * (desc.num_experts / desc.n_group);
  if (desc.top_k > candidates) {
    return invalid_argument(
        "topk_group: found %d groups of %d experts, expected at least top_k %d "
        "experts in them",
        desc.topk_group, desc.num_experts / desc.n_group, desc.top_k);
  }
  return Status::ok();
}

void select_experts(const moe4j_layer_desc& desc, const double* logits, const float* bias,
                    int32_t* ids, float* weights) noexcept {
  const RoutingMethod& method = routing_method(desc);
  const int32_t experts = desc.num_experts;
  double weighs[kMaxExperts];
  compute_scores(method.weighs, experts, logits, weighs);
  // Without a bias every score grows with the logit, which no rounding makes equal to another.
  double ranks[kMaxExperts];
  std::copy_n(method.has_bias ? weighs : logits, experts, ranks);
  if (bias != nullptr) {
    for (int32_t e = 0; e < experts; ++e) ranks[e] += static_cast<double>(bias[e]);
  }

  TopK best(desc.top_k);
  if (has_groups(desc)) {
    bool keeps[kMaxExperts];
    keep_groups(desc, ranks, keeps);
    const int32_t size = experts / desc.n_group;
    for (int32_t e = 0; e < experts; ++e) {
      if (keeps[e / size]) best.offer(ranks[e], e);
    }
  } else {
    for (int32_t e = 0; e < experts; ++e) best.offer(ranks[e], e);
  }
  std::copy_n(best.ids(), desc.top_k, ids);

  double factor = method.has_bias ? static_cast<double>(desc.routed_scaling_factor) : 1;
  if (renormalizes(desc)) {
    double sum = method.epsilon;
    for (int32_t i = 0; i < desc.top_k; ++i) sum += weighs[ids[i]];
    factor /= sum;
  }
  for (int32_t i = 0; i < desc.top_k; ++i) {
    weights[i] = static_cast<float>(weighs[ids[i]] * factor);
  }
}

}  // namespace moe4j
