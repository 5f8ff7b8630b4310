// The kernels of a launch around the matrix multiplications, as functions of the host.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/launch.hpp"
#include "routing/routing_methods.hpp"

namespace moe4j::cuda {

/** The architecture (80, 90, ...) that the current device's kernels were compiled for. */
Status kernel_architecture(int32_t* architecture);

/** Routing from logits; fields of moe4j_layer_desc and of its RoutingMethod. */
struct LogitRouting {
  int64_t tokens;
  const void* logits;  // [T, E]
  bool logits_are_bf16;
  const float* bias;  // [E] or NULL
  Score weighs;
  bool has_bias;
  bool renormalizes;
  float epsilon;
  int32_t num_experts;
  int32_t top_k;
  int32_t n_group;
  int32_t topk_group;
  float routed_scaling_factor;
  int32_t* ids;           // [T, k], -1 where no expert is left (NaN logits are never chosen)
  float* weights;         // [T, k]
  int32_t* counters;      // as launch_clear() has them, ...
  int32_t counter_count;  // ... or 0
};
void launch_route(Chain& chain, const LogitRouting& args);

/** Zeroes counters for the kernel that follows: they are zero when it starts. */
void launch_clear(Chain& chain, int32_t* counters, int32_t count);

/** Copies of the routing for the caller; each may be NULL. */
struct RoutingOutputs {
  int16_t* replay;        // [T, k]
  int32_t* ids;           // [T, k]
  float* weights;         // [T, k]
  float* expert_weights;  // [T, slots]
};
void launch_export_routing(Chain& chain, const Routing& routing, const RoutingOutputs& outputs);

/** How many parts the permutation cuts the tokens into. */
int32_t permute_chunks(int64_t tokens);

/**
 * Lets the permutation use the shared memory that it needs, once for each device; says for how many
 * experts of a layer the device has enough.
 */
Status prepare_permute(int32_t* max_experts);

/** `chunk_counts` [permute_chunks(T), experts]. */
void launch_permute(Chain& chain, const Routing& routing, int32_t* chunk_counts,
                    const Permutation& permutation);

struct Finalize {
  Routing routing;
  const int32_t* pair_row;
  const uint16_t* rows;  // GEMM2's output
  int32_t hidden;
  const float* addend;  // [T, hidden] or NULL
  void* output;         // [T, hidden]
  bool output_f32;
};
void launch_finalize(Chain& chain, const Finalize& args);

/**
 * Rows of a GEMM's tokens, in the order of the permutation, from whatever the caller gave: BF16 as
 * it is; or as the matrix units of another GPU would see it, quantized (or given as codes) and
 * decoded to the BF16 that holds code * block scale exactly. Tensor scales stay out; epilogues
 * multiply by them.
 */
struct FillTokens {
  int32_t format;           // moe4j_format of activations: what the tokens become
  bool are_codes;           // `source` holds codes of `format` already
  bool source_f32;          // else BF16
  int32_t k;                // elements of a row
  const void* source;       // [*, k]
  const uint8_t* scales;    // of codes
  int64_t tokens;           // x: rows of `source`, ...
  int32_t slots;            // ... each with so many pairs; h, whose source has rows: 0
  const int32_t* row_pair;  // Permutation's
  const int32_t* pair_storage;
  const int32_t* offsets;  // [experts + 1]
  int32_t experts;
  int64_t max_rows;
  const ExpertScalars* scalars;  // NVFP4: the tensor scale is the expert's input scale, ...
  bool intermediate;             // ... or its intermediate scale
  TiledRows output;
  /** GEMM1's output, if its last block of K is not full: zeroed here, before GEMM1 fills it. */
  TiledRows zeroed;
  int32_t zeroed_k;  // first element of that block; negative for none
};
void launch_fill_tokens(Chain& chain, const FillTokens& args);

/** Rows of a GEMM's tokens as E4M3 with one scale a row (fp8_layout.hpp), from BF16. */
struct FillFp8 {
  const uint16_t* source;  // [*, k], or NULL: `tiled_source`, whose rows are the output's
  TiledRows tiled_source;
  int32_t k;       // elements of a row, a multiple of 8
  int64_t tokens;  // rows of `source`
  int32_t slots;
  const int32_t* row_pair;  // Permutation's
  const int32_t* pair_storage;
  const int32_t* offsets;  // [experts + 1]
  int32_t experts;
  int64_t max_rows;
  TiledRows output;
  float* token_scales;  // [capacity of `output`]
};
void launch_fill_fp8(Chain& chain, const FillFp8& args);

// ---- helpers of the C ABI, for moe4j_quantize() and its kin

Status launch_quantize(cudaStream_t stream, int32_t format, int64_t rows, int64_t k,
                       bool source_bf16, const void* source, float tensor_scale, uint8_t* codes,
                       uint8_t* scales);
Status launch_dequantize(cudaStream_t stream, int32_t format, int64_t rows, int64_t k,
                         const uint8_t* codes, const uint8_t* scales, float tensor_scale,
                         float* destination);
Status launch_swizzle_scales(cudaStream_t stream, int64_t rows, int64_t columns,
                             const uint8_t* source, uint8_t* destination, bool to_swizzled);

struct RouterLogits {
  int64_t tokens;
  int64_t hidden;
  int64_t experts;
  const void* hidden_states;
  bool hidden_bf16;
  const void* weight;
  bool weight_bf16;
  const void* bias;  // or NULL
  bool bias_bf16;
  float* logits;
};
Status launch_router_logits(cudaStream_t stream, const RouterLogits& args);

// ---- weight preparation

/** One projection of one expert in device memory, linear. */
struct LinearMatrix {
  const uint8_t* codes;
  int64_t row_stride;
  const uint8_t* scales;
  int64_t scale_row_stride;
};

/** What a look at all block scales found; in device memory, zeroed before. */
struct ScaleSurvey {
  unsigned long long nan_complement;  // ~(row * columns + column) of the first NaN; 0 for none
  uint32_t largest;                   // of UE8M0 scales
};

void launch_survey_scales(CheckedStream& stream, int32_t format, int64_t rows, int64_t k,
                          const LinearMatrix& matrix, ScaleSurvey* survey);

/**
 * Repacks one projection [rows, k] of one expert; `second` holds the up rows of a gated GEMM1.
 * Surveys (one, or two if gated) have been made.
 */
void launch_prepare(CheckedStream& stream, int32_t format, const WeightLayout& layout, int64_t rows,
                    int64_t k, const LinearMatrix& first, const LinearMatrix* second,
                    const ScaleSurvey* surveys, uint8_t* prepared);

/**
 * FP8: a power of two for each row of all experts' prepared MXFP4 weights, [experts, row_blocks *
 * kTileRows]; zeroes `fits` if the block scales of a row span more than E4M3 holds exactly.
 */
void launch_survey_rows(CheckedStream& stream, const uint8_t* weights, const WeightLayout& layout,
                        int32_t experts, float* row_scales, int32_t* fits);

/** Repacks prepared MXFP4 weights in place, from weight_layout.hpp's order to fp8_layout.hpp's. */
void launch_pack_fp8(CheckedStream& stream, uint8_t* weights, const WeightLayout& layout,
                     int32_t experts, const float* row_scales);

}  // namespace moe4j::cuda
