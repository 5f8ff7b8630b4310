// The workspace of a launch on the CPU, carved from the caller's memory.
#pragma once

#include <cstdint>

#include "cpu/prepared_layer.hpp"
#include "cpu/tactic.hpp"
#include "launchers/permutation.hpp"

namespace moe4j {

/** Adjacent rows of one expert. */
struct ExpertRows {
  int32_t expert;  // as the layer counts those it holds
  int32_t first;
  int32_t count;
};

/** Whether x is written for each of a token's experts: NVFP4 quantizes it by their input scales,
 * and some kernels want an expert's tokens side by side. */
inline bool has_x_per_expert(const moe4j_layer_desc& desc, const CpuTactic& tactic) {
  return desc.activation_format == MOE4J_FORMAT_NVFP4 || tactic.products().evenly_spaced;
}

/**
 * A launch works through its tokens in passes, so that its workspace stays bounded: per pass at
 * most about kPassRows rows, one for each token and expert.
 */
inline constexpr int64_t kPassRows = 8192;

int64_t pass_tokens(const moe4j_layer_desc& desc, int64_t tokens) noexcept;

/** Pointers into the caller's memory. Sizes: T tokens; P rows of a pass. Vectors lie
 * vector_stride() apart. x and y share memory: the last is written when the first has been read for
 * good. */
struct CpuWorkspace {
  int32_t* ids;          // [T, k]
  float* weights;        // [T, k]
  int32_t* next_output;  // [held experts] do_finalize = 0: where an expert's next row goes
  Permutation permutation;
  ExpertRows* experts;  // [held experts] those that have rows in this pass
  uint8_t* x;           // vectors of H: P if has_x_per_expert(), otherwise one for each token
  uint8_t* h;           // P vectors of I
  float* exact_h;       // [P, I] where h is quantized, otherwise null
  float* y;             // [P, H]
};

/** Carves `base`; its size must be at least what cpu_workspace_bytes() says. */
CpuWorkspace carve_workspace(const moe4j_layer_desc& desc, const CpuTactic& tactic, int64_t tokens,
                             void* base) noexcept;

int64_t cpu_workspace_bytes(const moe4j_layer_desc& desc, const CpuTactic& tactic,
                            int64_t tokens) noexcept;

}  // namespace moe4j
