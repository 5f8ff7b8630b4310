// What kernels are told: plain structures, passed by value.
#pragma once

#include <cstdint>

#include "cuda/weight_layout.hpp"
#include "moe4j/moe4j.h"
#include "support/round_up.hpp"

namespace moe4j::cuda {

/** The numbers of one local expert that epilogues need; made when its weights are prepared. */
struct alignas(16) ExpertScalars {
  float gate;          // tensor scale of the gate projection, times what its layout leaves
  float up;            // same of the up projection
  float down;          // same of the down projection
  float input;         // NVFP4 activations: tensor scale of x
  float intermediate;  // NVFP4 activations: tensor scale of h
  float alpha;
  float beta;
  float limit;
};

/**
 * The routing of a launch, as ids and weights [T, k] in any of the forms a caller may have. Slots
 * k..k+S-1 of each token are the fused shared experts. Local experts count from 0, shared ones
 * last.
 */
struct Routing {
  int64_t tokens;
  int32_t top_k;
  int32_t shared;         // S
  int32_t num_experts;    // E
  int32_t local_offset;   // of the experts held here
  int32_t local_experts;  // L, without shared ones
  const int32_t* packed;  // id << 16 | bf16, or NULL:
  const int32_t* ids;     // anything: what is not in [0, E) contributes nothing
  const void* weights;
  bool weights_are_bf16;

  MOE4J_HOST_DEVICE int32_t slots() const { return top_k + shared; }
  MOE4J_HOST_DEVICE int32_t experts() const { return local_experts + shared; }
};

/** Each GEMM's, for two kernels. */
inline constexpr int32_t kTileCounters = 4;

/** Where (token, slot) pairs went: rows ordered by expert, then token, without gaps. */
struct Permutation {
  int32_t* offsets;       // [experts + 1] first row of each expert
  int32_t* row_pair;      // [rows] token * slots + slot
  int32_t* pair_row;      // [T * slots], -1 where the slot contributes nothing
  int32_t* pair_storage;  // [T * slots] its row in TiledRows, -1 for none
  int32_t* next_tiles;    // [kTileCounters] zeroed for GroupedGemm::next_tile
};

/**
 * Tokens as GEMMs read them: rows grouped by expert, blocks of 64 K after one another, and inside a
 * row's 128 bytes of a block the 16-byte chunks XORed with the row's last three bits. So the tokens
 * of a tile are contiguous for each block, and already swizzled as wgmma and ldmatrix want them:
 * one bulk copy fetches them. K is padded with zeros; what padding rows hold does not matter.
 *
 *   element (row, k) at bytes  ((k / 64) * capacity + row) * 128 + ((k % 64 / 8) ^ (row % 8)) * 16
 *                              + k % 8 * 2
 */
struct TiledRows {
  uint8_t* data;
  int64_t capacity;  // rows

  MOE4J_HOST_DEVICE uint8_t* chunk(int64_t row, int32_t k) const {
    return data + ((k >> 6) * capacity + row) * 128 + (((k >> 3 & 7) ^ (row & 7)) << 4);
  }
};

/** First storage row of an expert whose first row is `offset`: a multiple of 8, clear of others. */
MOE4J_HOST_DEVICE constexpr int32_t storage_begin(int32_t offset, int32_t expert) {
  return round_up(offset, 8) + 8 * expert;
}

MOE4J_HOST_DEVICE constexpr int64_t storage_capacity(int64_t rows, int32_t experts) {
  return round_up(rows, 8) + 8 * static_cast<int64_t>(experts + 1);
}

/** What happens to accumulators on their way to memory. */
struct Epilogue {
  const ExpertScalars* scalars;  // [experts]
  int32_t features;              // valid rows of the projection: I or H
  int32_t activation;            // GEMM1: moe4j_activation
  bool gated;                    // GEMM1: the projection interleaves gate and up rows
  bool expert_scales;            // NVFP4 activations quantized here: multiply by the expert's scale
  float activation_scale;        // and by this
  const float* row_scales;       // FP8: [experts, weight_rows], rows as strips order them; or NULL
  int64_t weight_rows;
  const float* bias;             // [experts, features] or NULL; of the gate, if gated
  const float* up_bias;          // [experts, features] or NULL
  const float* per_token_scale;  // [T] or NULL
  const uint16_t* lora_delta;    // BF16 [T, top_k, gate and up features] or NULL
  const int32_t* row_pair;       // Permutation's
  int32_t top_k;
  int32_t slots;
  TiledRows tiled_output;  // GEMM1: BF16; unused if `output` is given
  void* output;            // [rows, features], BF16 or F32
  bool output_f32;
};

/**
 * How experts' tokens are cut into tiles of at most max_tokens, and which of these a kernel does:
 * two kernels may share a GEMM.
 */
struct TokenTiles {
  int32_t max_tokens;
  int32_t above;  // tiles of more tokens than this, ...
  int32_t up_to;  // ... and of no more than this: multiples of 8, like tiles
};

MOE4J_HOST_DEVICE constexpr TokenTiles all_tiles(int32_t max_tokens) {
  return {max_tokens, 0, max_tokens};
}

/** One grouped matrix multiplication: for each expert, weights times that expert's tokens. */
struct GroupedGemm {
  const uint8_t* weights;
  WeightLayout layout;
  int32_t experts;
  const int32_t* offsets;  // [experts + 1]
  TokenTiles tiles;
  TiledRows tokens;
  const float* token_scales;  // FP8: [storage rows]
  // Of sm90_grouped alone:
  int32_t* next_tile;  // 0 at first: counts tiles drawn beyond each block's first
  bool alongside;      // the kernel before does other tiles of this GEMM
  Epilogue epilogue;
};

/** A layer for few tokens, up to GEMM2's output: blocks sort the routing out for themselves. */
struct NarrowLayer {
  GroupedGemm gate_up;  // without offsets and tokens
  GroupedGemm down;     // without offsets
  Routing routing;
  bool routing_is_input;  // else a kernel of this launch wrote it
  const uint8_t* rows;    // BF16 [T, K]
  int64_t row_bytes;
  int32_t* pair_row;   // Permutation's, written for finalize
  int32_t* next_tile;  // 0 at first: counts tiles drawn
  int32_t* stored;     // [experts], 0 at first: counts tiles of GEMM1 that are in memory
  int32_t stages;      // of the ring
};

/** A whole layer for up to eight tokens: what the decode kernels need. */
struct DecodeLayer {
  Routing routing;
  bool routing_is_input;  // else a kernel of this launch wrote it
  const uint8_t* gate_up;
  const uint8_t* down;
  WeightLayout gate_up_layout;
  WeightLayout down_layout;
  const uint16_t* tokens;  // BF16 [T, hidden]
  int32_t hidden;          // multiples of 64
  int32_t intermediate;
  Epilogue epilogue;       // of GEMM1, without its output
  uint16_t* h;             // [T * slots, intermediate], fragment order
  const float* down_bias;  // [experts, hidden] or NULL
  const float* addend;     // [T, hidden] or NULL
  void* output;            // [T, hidden]
  bool output_f32;
};

/** Shared memory that a grouped kernel needs to schedule `experts` experts. */
MOE4J_HOST_DEVICE constexpr int32_t schedule_bytes(int32_t experts) {
  return (experts + 1) * static_cast<int32_t>(sizeof(int32_t));
}

enum class Projection { kGateUp, kDown };

}  // namespace moe4j::cuda
