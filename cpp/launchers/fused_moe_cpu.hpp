// The operation on the CPU: routing, permutation, GEMM1 with its activation, GEMM2, finalize.
#pragma once

#include "cpu/prepared_layer.hpp"
#include "cpu/tactic.hpp"
#include "moe4j/moe4j.h"
#include "support/status.hpp"
#include "support/thread_pool.hpp"

namespace moe4j {

/**
 * Runs a sealed layer as moe4j_launch() documents it. The workspace holds at least
 * cpu_workspace_bytes(). Allocates nothing; waits for its turn if others use the pool. Every
 * element is computed by one thread in one order, so results do not depend on the threads.
 * Nothing is written before the routing has been checked.
 */
Status launch_fused_moe(const moe4j_layer_desc& desc, const PreparedLayer& layer,
                        const CpuTactic& tactic, const moe4j_launch_args& args,
                        ThreadPool& pool) noexcept;

}  // namespace moe4j
