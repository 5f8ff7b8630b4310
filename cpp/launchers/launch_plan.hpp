// How many blocks and stages a layer's kernels get on a device.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cuda/gemm/decode_limits.hpp"
#include "cuda/gemm/narrow_limits.hpp"
#include "cuda/gemm/sm90_decode.hpp"
#include "cuda/tactic.hpp"
#include "launchers/cuda_context.hpp"
#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j::cuda {

/** GEMM1's blocks and stages in Hopper's decode kernels. */
GateUpPlan plan_gate_up(const Tactic& tactic, const moe4j_layer_desc& desc, int64_t tokens);

/** How many blocks a layer's persistent kernels get; fixed when the layer is made. */
class LaunchPlan {
 public:
  /** Also lets kernels use the shared memory that they need. The device must be current. */
  static Status make(const CudaContext& context, const moe4j_layer_desc& desc, LaunchPlan* plan);

  int32_t grouped_blocks(int32_t tactic, Projection projection) const {
    return grouped_blocks_[static_cast<size_t>(tactic)][projection == Projection::kDown];
  }
  /** Whether the device has the shared memory that a grouped tactic needs for this layer. */
  bool holds_grouped(int32_t id) const {
    const int32_t narrower = tactic(id).narrower;
    return grouped_blocks(id, Projection::kGateUp) > 0 &&
           grouped_blocks(id, Projection::kDown) > 0 && (narrower < 0 || holds_grouped(narrower));
  }
  int32_t narrow_blocks(int32_t tactic, int64_t tokens) const {
    return narrow_blocks_[static_cast<size_t>(tactic)][static_cast<size_t>((tokens - 1) / 32)];
  }
  int32_t decode_blocks(int32_t tactic, int64_t tokens) const {
    return decode_blocks_[static_cast<size_t>(tactic)][static_cast<size_t>(tokens - 1)];
  }

 private:
  Status make_sm90_decode(const CudaContext& context, const moe4j_layer_desc& desc, int32_t id);
  Status make_decode(const CudaContext& context, const moe4j_layer_desc& desc, int32_t id);
  Status make_narrow(const CudaContext& context, const moe4j_layer_desc& desc, int32_t id);
  Status make_grouped(const CudaContext& context, const moe4j_layer_desc& desc, int32_t id);

  // By tactic; 0 where it cannot run.
  std::vector<std::array<int32_t, 2>> grouped_blocks_;
  std::vector<std::array<int32_t, kNarrowTokens / 32>> narrow_blocks_;
  std::vector<std::array<int32_t, kDecodeTokens>> decode_blocks_;
};

}  // namespace moe4j::cuda
