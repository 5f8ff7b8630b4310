// The tactics of CUDA devices: tactics/sm*.def as one table.
#pragma once

#include <cstdint>

#include "cuda/gemm/instances.hpp"
#include "cuda/gemm/sm90_decode.hpp"
#include "moe4j/moe4j.h"

namespace moe4j::cuda {

enum class Family { kSm80Grouped, kSm90Grouped, kSm90Fp8, kSm90Narrow, kDecode, kSm90Decode };

struct Tactic {
  const char* name;
  Family family;
  int32_t row;            // of its family, in its file
  int32_t tokens;         // the token tile
  int32_t rows;           // of weights a tile; 0 for decode
  int32_t split;          // of K, decode only
  int32_t blocks;         // of GEMM1, a multiprocessor; Hopper's decode kernels only
  int32_t stages;         // of their rings
  int32_t narrower = -1;  // the tactic whose kernels take the token tiles that fit them, or -1
};

/** Ids are 0..num_tactics() - 1. */
int32_t num_tactics() noexcept;
const Tactic& tactic(int32_t id) noexcept;

/** The grouped tactic that a decode or narrow one uses for launches that it cannot run. */
int32_t fallback_tactic(const Tactic& tactic) noexcept;

bool family_runs_on(Family family, int32_t compute_capability) noexcept;

/** Whether FP8 kernels exist for the layer; its weights may still not be exact in E4M3. */
bool fp8_suits(const moe4j_layer_desc& desc, int32_t compute_capability) noexcept;

constexpr bool is_decode(Family family) {
  return family == Family::kDecode || family == Family::kSm90Decode;
}

/** Whether the layer and token count suit a decode tactic, whatever the call's options. */
bool decode_suits(const Tactic& tactic, const moe4j_layer_desc& desc, int64_t tokens) noexcept;

/** Whether the layer and token count suit the narrow kernels, whatever the call's options. */
bool narrow_suits(const moe4j_layer_desc& desc, int64_t tokens) noexcept;

/**
 * The tactic that a layer uses unless it is tuned, from the tokens an expert sees on average: a
 * guess by design, since a tuner measures. Valid for every shape. `fp8`: the layer's weights are
 * packed for FP8 kernels.
 */
int32_t default_tactic(const moe4j_layer_desc& desc, int64_t tokens, int32_t compute_capability,
                       bool fp8) noexcept;

GroupedInstance grouped_instance(const Tactic& tactic, int32_t weight_format,
                                 Projection projection) noexcept;
NarrowInstance narrow_instance(const Tactic& tactic, int32_t weight_format) noexcept;
DecodeKernel decode_gate_up_kernel(const Tactic& tactic, int32_t weight_format) noexcept;
DecodeKernel decode_down_kernel(int32_t weight_format) noexcept;
/** FP4 weights only. */
Sm90DecodeInstance sm90_decode_kernels(int32_t weight_format) noexcept;

/** Changes with names, with kTacticVersion and with nothing else. */
uint64_t tactic_table_hash() noexcept;

}  // namespace moe4j::cuda
