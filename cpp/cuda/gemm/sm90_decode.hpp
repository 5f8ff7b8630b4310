// What Hopper's decode kernels need of shared memory, for host and device alike.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/divider.hpp"
#include "cuda/gemm/decode_limits.hpp"
#include "cuda/gemm/sm90_shared.hpp"
#include "cuda/weight_layout.hpp"

namespace moe4j::cuda {

/** The most experts of a token, shared ones included: a warp lists whole tokens. */
inline constexpr int32_t kSm90DecodeSlots = 32;

/** The largest intermediate size: the number of a launch's units must suit a Divider. */
inline constexpr int32_t kSm90DecodeIntermediate = 65536;

/** A layer, the stages of a kernel's ring, and divisors. */
struct Sm90DecodeLayer : DecodeLayer {
  int32_t stages;
  int32_t tokens_a_round;  // whose slots a warp looks at together
  Divider by_slots;
  Divider by_gate_up_row_blocks;
  Divider by_down_k_blocks;
};

using Sm90DecodeKernel = void (*)(Sm90DecodeLayer);

/** Both kernels of one FP4 weight format; all tactics of the family share them. */
struct Sm90DecodeInstance {
  Sm90DecodeKernel gate_up;
  Sm90DecodeKernel down;
};

template <int kFormat>
Sm90DecodeInstance sm90_decode_instance();

/** Threads of a block: the consumers, and a warp of which one thread produces. */
inline constexpr int kDecodeConsumers = kStripsPerTile * 32;
inline constexpr int kSm90DecodeThreads = kDecodeConsumers + 32;

/** Blocks of both kernels together that registers shall allow on a multiprocessor. */
inline constexpr int kSm90DecodeBlocks = 6;

/** One of a launch's experts, and the tokens that chose it. */
struct ChosenExpert {
  int32_t expert;
  uint32_t tokens;             // bit t: token t chose it
  float scale;                 // GEMM2: of its projection
  int8_t slot[kDecodeTokens];  // -1 where a token did not
  float weight[kDecodeTokens];
};

/** K blocks of 64 rows that one bulk copy brings: about 9 KB, smaller ones reach less bandwidth. */
inline constexpr int32_t kDecodeStageBlocks = 4;

MOE4J_HOST_DEVICE constexpr int32_t decode_stage_weight_bytes(int32_t weight_format) {
  return kDecodeStageBlocks * strip_layout(weight_format).tile_bytes();
}

/** BF16 rows of `k` elements (a multiple of 64), 16 bytes apart against bank conflicts. */
MOE4J_HOST_DEVICE constexpr int32_t decode_row_bytes(int32_t k) { return k * 2 + 16; }

/** Offsets of the parts of a block's shared memory. The ring lies at 0. */
struct DecodeShared {
  int32_t stage_bytes;
  int32_t tokens;   // GEMM1: x
  int32_t own;      // GEMM2: this block's sums
  int32_t sums;     // GEMM2: all blocks' sums of the outputs that this block writes
  int32_t base;     // GEMM2: what the output has besides the product
  int32_t experts;  // ChosenExpert, as many as pairs
  int32_t barriers;
  int32_t bytes;
};

namespace decode_detail {
MOE4J_HOST_DEVICE constexpr DecodeShared end(DecodeShared s, int32_t pairs, int32_t stages) {
  s.barriers = round_up(s.experts + pairs * static_cast<int32_t>(sizeof(ChosenExpert)), 16);
  s.bytes = s.barriers + (2 * stages + 2) * 8;
  return s;
}
}  // namespace decode_detail

MOE4J_HOST_DEVICE constexpr DecodeShared gate_up_shared(int32_t weight_format, int32_t tokens,
                                                        int32_t slots, int32_t hidden,
                                                        int32_t stages) {
  DecodeShared s = {};
  s.stage_bytes = decode_stage_weight_bytes(weight_format);
  s.tokens = stages * s.stage_bytes;
  s.experts = s.tokens + tokens * decode_row_bytes(hidden);
  return decode_detail::end(s, tokens * slots, stages);
}

MOE4J_HOST_DEVICE constexpr DecodeShared down_shared(int32_t weight_format, int32_t tokens,
                                                     int32_t slots, int32_t stages) {
  DecodeShared s = {};
  s.tokens = decode_stage_weight_bytes(weight_format);  // within a stage
  s.stage_bytes = s.tokens + tokens * decode_row_bytes(kDecodeStageBlocks * kTileK);
  s.own = stages * s.stage_bytes;
  s.sums = s.own + tokens * kTileRows * 4;
  s.base = s.sums + tokens * kTileRows * 4;
  s.experts = s.base + tokens * kTileRows * 4;
  return decode_detail::end(s, tokens * slots, stages);
}

/** Of a multiprocessor's shared memory, a kilobyte is left alone. */
inline constexpr int32_t kSm90DecodeShared = kSm90Shared - 1024;

/** GEMM1's blocks a multiprocessor, and the stages of their rings; 0 blocks where none fits. */
struct GateUpPlan {
  int32_t blocks;
  int32_t stages;
};

/** As many as the tactic wants, fewer where tokens take the memory. */
MOE4J_HOST_DEVICE constexpr GateUpPlan plan_gate_up(int32_t weight_format, int32_t tokens,
                                                    int32_t slots, int32_t hidden, int32_t blocks,
                                                    int32_t stages) {
  for (; blocks > 0; --blocks) {
    for (int32_t s = stages; s >= 2; --s) {
      const int32_t bytes = gate_up_shared(weight_format, tokens, slots, hidden, s).bytes;
      if (blocks * (bytes + kSm90BlockShared) <= kSm90DecodeShared) return {blocks, s};
    }
  }
  return {0, 0};
}

inline constexpr int32_t kMaxDownCluster = 8;

/** Blocks that share 64 output rows: so many that one wave, four a multiprocessor, holds all. */
MOE4J_HOST_DEVICE constexpr int32_t down_cluster(int32_t row_blocks, int32_t multiprocessors) {
  int32_t cluster = kMaxDownCluster;
  while (cluster > 1 && cluster * row_blocks > 4 * multiprocessors) cluster /= 2;
  return cluster;
}

/** Stages of GEMM2's blocks where they lie beside GEMM1's. */
inline constexpr int32_t kDecodeDownStages = 3;

/**
 * Stages of GEMM2's `blocks` blocks. Where no multiprocessor has room for its share of them beside
 * `gate_up_shared_bytes` of GEMM1's, they start as GEMM1's end, most of them where these end first:
 * more stages, so that there is no room for more than the share.
 */
constexpr int32_t down_stages(int32_t weight_format, int32_t tokens, int32_t slots, int32_t blocks,
                              int32_t multiprocessors, int32_t gate_up_shared_bytes) {
  // Clusters reach some 15 of 16 multiprocessors.
  const int32_t share = ceil_div(16 * blocks, 15 * multiprocessors);
  const auto bytes = [&](int32_t stages) {
    return down_shared(weight_format, tokens, slots, stages).bytes + kSm90BlockShared;
  };
  int32_t stages = kDecodeDownStages;
  if (gate_up_shared_bytes + share * bytes(stages) <= kSm90DecodeShared) return stages;
  while ((share + 1) * bytes(stages) <= kSm90DecodeShared &&
         share * bytes(stages + 1) <= kSm90DecodeShared) {
    ++stages;
  }
  return stages;
}

}  // namespace moe4j::cuda
