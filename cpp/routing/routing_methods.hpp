// The ten ways from a token's logits to its experts and their weights (moe4j_routing_method).
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

/** Refuses a description whose routing fields contradict each other or its method. */
Status check_routing(const moe4j_layer_desc& desc) noexcept;

/** Whether the method adds a routing bias to the scores that select. */
bool routing_method_has_bias(int32_t method) noexcept;

/**
 * Chooses the top_k experts of one token, best first, ties to the lower id. `logits` [E] holds no
 * NaN but may hold infinities; `bias` [E] is finite, or NULL for none. `desc` has passed
 * check_routing(). Everything is computed in F64, so that the choice is that of the formulas; each
 * weight is rounded once to F32. Writes ids [k] and weights [k].
 */
void select_experts(const moe4j_layer_desc& desc, const double* logits, const float* bias,
                    int32_t* ids, float* weights) noexcept;

}  // namespace moe4j
