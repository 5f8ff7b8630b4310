// The ten ways from a token's logits to its experts and their weights (moe4j_routing_method).
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

/** What a logit weighs. */
enum class Score { kLogit, kSoftmax, kSigmoid };

enum class Renormalize { kNever, kIfAsked, kAlways };

/** A routing method: a score that weighs, and what happens to the weights. */
struct RoutingMethod {
  const char* name;
  Score weighs;
  Renormalize renormalizes;  // divides by the sum of the chosen weights ...
  double epsilon;            // ... plus this
  bool has_bias;             // a bias ranks, groups of experts compete, weights are scaled
};

/**
 * Indexed by moe4j_routing_method. The softmax over the chosen logits of Renormalize is the softmax
 * over all of them, renormalized.
 */
inline constexpr RoutingMethod kRoutingMethods[] = {
    {"Default", Score::kSoftmax, Renormalize::kNever, 0, false},
    {"Renormalize", Score::kSoftmax, Renormalize::kAlways, 0, false},
    {"DeepSeekV3", Score::kSigmoid, Renormalize::kAlways, 1e-20, true},
    {"Llama4", Score::kSigmoid, Renormalize::kNever, 0, false},
    {"RenormalizeNaive", Score::kSoftmax, Renormalize::kIfAsked, 0, false},
    {"TopK", Score::kLogit, Renormalize::kNever, 0, false},
    {"SigmoidRenorm", Score::kSigmoid, Renormalize::kIfAsked, 1e-20, false},
    {"MiniMax2", Score::kSigmoid, Renormalize::kAlways, 1e-20, true},
    {"Sigmoid", Score::kSigmoid, Renormalize::kNever, 0, false},
    {"TopKSigmoid", Score::kSigmoid, Renormalize::kNever, 0, false},
};

/** Of a description that has passed check_routing(). */
constexpr const RoutingMethod& routing_method(const moe4j_layer_desc& desc) {
  return kRoutingMethods[desc.routing_method];
}

constexpr bool renormalizes(const moe4j_layer_desc& desc) {
  const Renormalize when = routing_method(desc).renormalizes;
  return when == Renormalize::kAlways ||
         (when == Renormalize::kIfAsked && desc.norm_topk_prob != 0);
}

/** Refuses a description whose routing fields contradict each other or its method. */
Status check_routing(const moe4j_layer_desc& desc) noexcept;

/**
 * Chooses the top_k experts of one token, best first, ties to the lower id. `logits` [E] holds no
 * NaN but may hold infinities; `bias` [E] is finite, or NULL for none. `desc` has passed
 * check_routing(). Everything is computed in F64, so that the choice is that of the formulas; each
 * weight is rounded once to F32. Writes ids [k] and weights [k].
 */
void select_experts(const moe4j_layer_desc& desc, const double* logits, const float* bias,
                    int32_t* ids, float* weights) noexcept;

}  // namespace moe4j
