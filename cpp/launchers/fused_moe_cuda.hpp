// The operation on a CUDA device: which kernels run, on which part of the workspace.
#pragma once

#include <cstdint>

#include "cuda/prepared_layer.hpp"
#include "launchers/cuda_context.hpp"
#include "launchers/launch_plan.hpp"
#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j::cuda {

/** A pure function of its arguments. */
int64_t workspace_bytes(const moe4j_layer_desc& desc, int32_t tactic, int64_t tokens) noexcept;

/**
 * Queues a launch: no synchronization, and no allocation but LaunchGraphs'. `args` has passed the
 * checks of the C ABI and names a tactic of this device.
 */
Status launch_fused_moe(CudaContext& context, const PreparedLayer& layer, const LaunchPlan& plan,
                        const moe4j_launch_args& args) noexcept;

}  // namespace moe4j::cuda
