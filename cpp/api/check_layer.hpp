// What makes a layer's description and an expert's weights acceptable, before anything is read.
#pragma once

#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

Status check_layer_desc(const moe4j_layer_desc& desc) noexcept;

/** `desc` has passed check_layer_desc(). */
Status check_expert(const moe4j_layer_desc& desc, int32_t local_expert,
                    const moe4j_expert_weights& weights) noexcept;

}  // namespace moe4j
