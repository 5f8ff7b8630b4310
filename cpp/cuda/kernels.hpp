// The kernels of a launch around the matrix multiplications, as functions of the host.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/launch.hpp"

namespace moe4j::cuda {

/** The architecture (80, 90, ...) that the current device's kernels were compiled for. */
Status kernel_architecture(int32_t* architecture);

/** Routing from logits; fields of moe4j_layer_desc. */
struct LogitRouting {
  int64_t tokens;
  const void* logits;  // [T, E]
  bool logits_are_bf16;
  const float* bias;  // [E] or NULL
  int32_t method;
  int32_t num_experts;
  int32_t top_k;
  int32_t n_group;
  int32_t topk_group;
  bool norm_topk_prob;
  float routed_scaling_factor;
  int32_t* ids;    // [T, k], -1 where no expert is left (NaN logits are never chosen)
  float* weights;  // [T, k]
};
void launch_route(Chain& chain, const LogitRouting& args);

/** Copies of the routing for the caller; each may be NULL. */
struct RoutingOutputs {
  int16_t* replay;        // [T, k]
  int32_t* ids;           // [T, k]
  float* weights;         // [T, k]
  float* expert_weights;  // [T, slots]
};
void launch_export_routing(Chain& chain, const Routing& routing, const RoutingOutputs& outputs);

void launch_permute(Chain& chain, const Routing& routing, const Permutation& permutation);

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
 * Activations as the matrix units of another GPU would see them: quantized, and decoded to the BF16
 * that holds code * block scale exactly. Tensor scales stay out; epilogues multiply by them.
 */
struct QuantizeActivations {
  int32_t format;  // BF16 (only copies rows into the wider stride), NVFP4 or MXFP8
  int64_t rows;    // at most; the number of rows of a permutation is known to the device only
  int32_t k;
  const void* source;  // [*, k]
  bool source_f32;     // else BF16
  const int32_t* row_source;      // row -> row of `source`; NULL: the same
  const int32_t* offsets;         // [experts + 1] rows of each expert; NULL: all rows are valid
  int32_t experts;
  const ExpertScalars* scalars;   // NVFP4: the tensor scale is the expert's input scale, ...
  bool intermediate;              // ... or its intermediate scale
  uint16_t* output;               // [rows, stride]
  int64_t stride;
};
void launch_quantize_activations(Chain& chain, const QuantizeActivations& args);

/** BF16 of codes * block scales, rows [rows, k] into [rows, stride]. */
struct DecodeActivations {
  int32_t format;  // NVFP4 or MXFP8
  int64_t rows;
  int32_t k;
  const uint8_t* codes;
  const uint8_t* scales;
  uint16_t* output;
  int64_t stride;
};
void launch_decode_activations(Chain& chain, const DecodeActivations& args);

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

void launch_survey_scales(Chain& chain, int32_t format, int64_t rows, int64_t k,
                          const LinearMatrix& matrix, ScaleSurvey* survey);

/**
 * Repacks one projection of one expert; `second` holds the up rows of a gated GEMM1. Surveys (one,
 * or two if gated) have been made.
 */
void launch_prepare(Chain& chain, int32_t format, int64_t rows, int64_t k,
                    const LinearMatrix& first, const LinearMatrix* second,
                    const ScaleSurvey* surveys, uint8_t* prepared);

}  // namespace moe4j::cuda
