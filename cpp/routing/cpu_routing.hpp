// Routing on the host: from whatever a launch brings to ids and weights.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

/**
 * Writes rows [begin, end) of `ids` and `weights`, both [T, k], for the routed experts of a launch
 * of any routing mode. Checks the rows' contents: a NaN logit, bias or weight, an id outside
 * [0, E) or an expert twice in one token is refused, named by its tensor and index. Rows may be
 * given to several threads; nothing is allocated unless there is an error to describe.
 */
Status route_tokens(const moe4j_layer_desc& desc, const moe4j_launch_args& args, int64_t begin,
                    int64_t end, int32_t* ids, float* weights) noexcept;

}  // namespace moe4j
