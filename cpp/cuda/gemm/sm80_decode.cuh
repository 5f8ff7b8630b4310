// The whole layer for up to eight tokens in two kernels, without a permutation.
//
// One column of mma.sync for each token, whichever experts it chose: a distinct chosen expert is
// multiplied with all tokens at once and the results of tokens that did not choose it are dropped.
// So B is the same for all experts, and every warp can stream weights on its own: no barrier, no
// ring, only registers between memory and the matrix unit.
//
//   decode_gate_up   warp = (expert, strip of 16 rows, 1 / kSplit of K); x lies in shared memory;
//                    the parts of K meet in shared memory, then activation, h to memory
//   decode_down      block = strip of 16 output rows; its warps share out (expert, K) of all chosen
//                    experts, and meet in shared memory: weighted sum, bias, addend, rounding.
//                    Finalize is part of it.
//
// h and x are kept in fragment order: for each 64 K, lane t's 16 elements of mma.cuh's b[0], b[1]
// in a row, so that B is two 16-byte loads.
//
// Weight loads of the first K blocks are issued before waiting for the previous kernel: they depend
// on the routing alone, which is older. Order and number of additions depend on nothing that
// varies: same inputs, same bits.
#pragma once

#include <cstdint>

#include "cuda/dequant/fragment.cuh"
#include "cuda/gemm/decode_epilogue.cuh"
#include "cuda/gemm/decode_limits.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {

inline constexpr int kDecodePrefetch = 4;  // K blocks in flight a warp; 8 were slower

/** The distinct local experts of a launch, in the order in which pairs name them. */
struct DecodeExperts {
  int32_t count;
  int32_t pair_expert[kDecodePairs];  // -1: contributes nothing
  int16_t expert[kDecodePairs];
  int16_t index_of_pair[kDecodePairs];
  alignas(8) int8_t slot[kDecodePairs][kDecodeTokens];  // -1: the token did not choose the expert
  int32_t warp_counts[kDecodeWarps];

  /** Called by all threads of the block. */
  __device__ void find(const Routing& routing) {
    const auto pair = static_cast<int32_t>(threadIdx.x);
    const int32_t slots = routing.slots();
    const int32_t pairs = static_cast<int32_t>(routing.tokens) * slots;
    int32_t mine = -1;
    if (pair < pairs) mine = slot_expert(routing, pair / slots, pair % slots);
    pair_expert[pair] = mine;
    *reinterpret_cast<int2*>(slot[pair]) = make_int2(-1, -1);
    __syncthreads();
    int32_t leader = -1;
    if (mine >= 0) {
      leader = 0;
      while (pair_expert[leader] != mine) ++leader;
    }
    const bool leads = mine >= 0 && leader == pair;
    const uint32_t votes = __ballot_sync(0xFFFFFFFFu, leads);
    if (pair % 32 == 0) warp_counts[pair / 32] = __popc(votes);
    __syncthreads();
    int32_t index = __popc(votes & ((1u << (pair % 32)) - 1));
    int32_t total = 0;
    for (int w = 0; w < kDecodeWarps; ++w) {
      if (w < pair / 32) index += warp_counts[w];
      total += warp_counts[w];
    }
    if (leads) {
      expert[index] = static_cast<int16_t>(mine);
      index_of_pair[pair] = static_cast<int16_t>(index);
    }
    if (pair == 0) count = total;
    __syncthreads();
    if (mine >= 0) {
      slot[index_of_pair[leader]][pair / slots] = static_cast<int8_t>(pair % slots);
    }
    __syncthreads();
  }
};
static_assert(kDecodeThreads == kDecodePairs, "one thread lists one pair");

/** x's rows in fragment order, padded so that eight rows' loads hit different banks. */
__device__ __forceinline__ int32_t decode_row_stride(int32_t hidden) { return hidden + 8; }

/** The rows of all tokens, and one of zeros for the columns that have no token. */
__device__ __forceinline__ void stage_tokens(const DecodeLayer& layer, uint16_t* rows) {
  uint16_t* zeros = rows + layer.routing.tokens * decode_row_stride(layer.hidden);
  for (int32_t i = static_cast<int32_t>(threadIdx.x) * 8; i < layer.hidden;
       i += kDecodeThreads * 8) {
    *reinterpret_cast<uint4*>(zeros + i) = make_uint4(0, 0, 0, 0);
  }
  const int32_t chunks = layer.hidden / 8;
  const int32_t all = static_cast<int32_t>(layer.routing.tokens) * chunks;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < all; i += kDecodeThreads) {
    const int32_t row = i / chunks;
    const int32_t k = (i - row * chunks) * 8;
    const uint4 v = *reinterpret_cast<const uint4*>(layer.tokens +
                                                    static_cast<int64_t>(row) * layer.hidden + k);
    uint16_t* to = rows + row * decode_row_stride(layer.hidden) + fragment_offset(k);
    *reinterpret_cast<uint32_t*>(to) = v.x;
    *reinterpret_cast<uint32_t*>(to + 16) = v.y;
    *reinterpret_cast<uint32_t*>(to + 32) = v.z;
    *reinterpret_cast<uint32_t*>(to + 48) = v.w;
  }
}

/** One strip, 64 K: four k16 steps, B in fragment order. */
template <class Weights>
__device__ __forceinline__ void decode_multiply(float (&d)[4],
                                                const typename Weights::Packed& packed,
                                                const uint4& low, const uint4& high) {
  uint32_t a[4];
  Weights::template unpack<0>(packed, a);
  mma_m16n8k16(d, a, low.x, low.y);
  Weights::template unpack<1>(packed, a);
  mma_m16n8k16(d, a, low.z, low.w);
  Weights::template unpack<2>(packed, a);
  mma_m16n8k16(d, a, high.x, high.y);
  Weights::template unpack<3>(packed, a);
  mma_m16n8k16(d, a, high.z, high.w);
}

/** One (strip, 8 tokens): h into fragment order. */
__device__ __forceinline__ void decode_store_h(const DecodeLayer& layer,
                                               const DecodeExperts& experts, int32_t index,
                                               int32_t strip, int lane, const float (&d)[4]) {
  const DecodeStrip epilogue(layer, experts.expert[index], strip, lane >> 2);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int32_t token = (lane & 3) * 2 + i;
    const int32_t slot = experts.slot[index][token];
    if (slot < 0) continue;
    epilogue.activate(token, slot, d[i], d[2 + i], [&](int64_t row, int32_t feature, float value) {
      layer.h[row + fragment_offset(feature)] = round_bf16(value);
    });
  }
}

template <int kFormat, int kSplit>
__global__ void __launch_bounds__(kDecodeThreads, 2)
    decode_gate_up(const __grid_constant__ DecodeLayer layer) {
  using Weights = Fragment<kFormat>;
  constexpr int kGroups = kDecodeWarps / kSplit;  // strips that a block works on at once
  static_assert(kDecodeWarps % kSplit == 0, "all groups have kSplit warps");
  extern __shared__ __align__(16) uint16_t rows[];
  __shared__ DecodeExperts experts;
  __shared__ float4 parts[kSplit > 1 ? kDecodeWarps : 1][32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group = static_cast<int>(threadIdx.x) / 32 / kSplit;
  const int part = static_cast<int>(threadIdx.x) / 32 % kSplit;

  if (!layer.routing_is_input) grid_dependency_wait();
  experts.find(layer.routing);

  const WeightLayout& layout = layer.gate_up_layout;
  const int32_t strips = layout.row_blocks * kStripsPerTile;
  const int32_t units = experts.count * strips;
  const int32_t k_begin = part * layout.k_blocks / kSplit;
  const int32_t k_end = (part + 1) * layout.k_blocks / kSplit;
  const int32_t stride = static_cast<int32_t>(gridDim.x) * kGroups;

  // The loads run kDecodePrefetch K blocks ahead, over the ends of units.
  typename Weights::Packed packed[kDecodePrefetch];
  int32_t next_unit = static_cast<int32_t>(blockIdx.x) * kGroups + group;
  int32_t next_k = k_begin;
  const uint8_t* next_tile = nullptr;
  int32_t next_strip = 0;
  const auto find_tile = [&] {
    if (next_unit >= units) return;
    const int32_t index = next_unit / strips;
    const int32_t strip = next_unit - index * strips;
    next_strip = strip % kStripsPerTile;
    next_tile = layer.gate_up + experts.expert[index] * layout.expert_bytes() +
                strip / kStripsPerTile * layout.row_block_bytes() +
                static_cast<int64_t>(k_begin) * Weights::kTileBytes;
  };
  const auto load = [&](int i) {
    if (next_unit < units && next_k + i < k_end) {
      packed[i] = Weights::load_global(next_tile + i * Weights::kTileBytes, next_strip, lane);
    }
  };
  const auto advance = [&] {
    next_k += kDecodePrefetch;
    next_tile += kDecodePrefetch * Weights::kTileBytes;
    if (next_k >= k_end) {
      next_k = k_begin;
      next_unit += stride;
      find_tile();
    }
  };
  find_tile();
#pragma unroll
  for (int i = 0; i < kDecodePrefetch; ++i) load(i);
  advance();

  stage_tokens(layer, rows);
  grid_dependency_wait();
  grid_dependency_launch();
  __syncthreads();

  const int32_t row = min(lane >> 2, static_cast<int32_t>(layer.routing.tokens));
  const uint4* b = reinterpret_cast<const uint4*>(rows + row * decode_row_stride(layer.hidden) +
                                                  (lane & 3) * 16);
  // All groups of a block take the same number of turns: they meet at the barrier of a split.
  for (int32_t first = static_cast<int32_t>(blockIdx.x) * kGroups; first < units; first += stride) {
    const int32_t unit = first + group;
    float d[4] = {};
    if (unit < units) {
      for (int32_t k = k_begin; k < k_end; k += kDecodePrefetch) {
#pragma unroll
        for (int i = 0; i < kDecodePrefetch; ++i) {
          if (k + i < k_end) {
            decode_multiply<Weights>(d, packed[i], b[(k + i) * 8], b[(k + i) * 8 + 1]);
          }
          load(i);
        }
        advance();
      }
    }
    if constexpr (kSplit > 1) {
      const int warp = static_cast<int>(threadIdx.x) / 32;
      parts[warp][lane] = make_float4(d[0], d[1], d[2], d[3]);
      __syncthreads();
      if (part == 0) {
#pragma unroll
        for (int p = 1; p < kSplit; ++p) {
          const float4 other = parts[warp + p][lane];
          d[0] += other.x;
          d[1] += other.y;
          d[2] += other.z;
          d[3] += other.w;
        }
      }
      __syncthreads();
    }
    if (part == 0 && unit < units) {
      decode_store_h(layer, experts, unit / strips, unit % strips, lane, d);
    }
  }
}

template <int kFormat>
__global__ void __launch_bounds__(kDecodeThreads, 2)
    decode_down(const __grid_constant__ DecodeLayer layer) {
  using Weights = Fragment<kFormat>;
  __shared__ DecodeExperts experts;
  __shared__ float weights[kDecodePairs][kDecodeTokens];  // 0 where the token did not choose
  __shared__ float sums[kDecodeWarps][32][4];
  __shared__ uint4 zeros[2];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;

  // The routing is older than the kernel before this one.
  experts.find(layer.routing);

  const WeightLayout& layout = layer.down_layout;
  const auto strip = static_cast<int32_t>(blockIdx.x);
  const int32_t all = experts.count * layout.k_blocks;
  const int32_t begin = warp * all / kDecodeWarps;
  const int32_t end = (warp + 1) * all / kDecodeWarps;
  const uint8_t* strip_tiles = layer.down + strip / kStripsPerTile * layout.row_block_bytes();

  // Cursors over (expert, K block): each step adds to a pointer, an expert's end looks up the next.
  typename Weights::Packed packed[kDecodePrefetch];
  uint4 b[kDecodePrefetch][2];
  const int32_t first_index = begin / layout.k_blocks;
  const int32_t first_k_block = begin % layout.k_blocks;
  int32_t weights_index = first_index;
  int32_t weights_k_block = first_k_block;
  const uint8_t* tile = nullptr;
  const auto find_tile = [&] {
    tile = strip_tiles + experts.expert[weights_index] * layout.expert_bytes() +
           static_cast<int64_t>(weights_k_block) * Weights::kTileBytes;
  };
  const auto load_weights = [&](int i) {
    packed[i] = Weights::load_global(tile, strip % kStripsPerTile, lane);
    tile += Weights::kTileBytes;
    if (++weights_k_block == layout.k_blocks) {
      weights_k_block = 0;
      if (++weights_index < experts.count) find_tile();
    }
  };
  // Columns whose token did not choose the expert read zeros, again and again.
  const int32_t column = lane >> 2;
  int32_t tokens_index = first_index;
  int32_t tokens_k_block = first_k_block;
  const uint4* h = nullptr;
  int32_t h_step = 0;
  const auto find_h = [&] {
    const int32_t slot = experts.slot[tokens_index][column];
    const int64_t pair = static_cast<int64_t>(column) * layer.epilogue.slots + slot;
    h_step = slot < 0 ? 0 : kTileK / 8;
    h = slot < 0 ? zeros
                 : reinterpret_cast<const uint4*>(layer.h + pair * layer.intermediate +
                                                  tokens_k_block * kTileK + (lane & 3) * 16);
  };
  const auto load_tokens = [&](int i) {
    b[i][0] = h[0];
    b[i][1] = h[1];
    h += h_step;
    if (++tokens_k_block == layout.k_blocks) {
      tokens_k_block = 0;
      if (++tokens_index < experts.count) find_h();
    }
  };

  if (begin < end) find_tile();
#pragma unroll
  for (int i = 0; i < kDecodePrefetch; ++i) {
    if (begin + i < end) load_weights(i);
  }
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < experts.count * kDecodeTokens;
       i += kDecodeThreads) {
    const int32_t slot = experts.slot[i / kDecodeTokens][i % kDecodeTokens];
    weights[i / kDecodeTokens][i % kDecodeTokens] =
        slot < 0 ? 0.0f : slot_weight(layer.routing, i % kDecodeTokens, slot);
  }
  if (threadIdx.x < 2) zeros[threadIdx.x] = make_uint4(0, 0, 0, 0);
  __syncthreads();
  grid_dependency_wait();
  grid_dependency_launch();

  if (begin < end) find_h();
#pragma unroll
  for (int i = 0; i < kDecodePrefetch; ++i) {
    if (begin + i < end) load_tokens(i);
  }

  float total[4] = {};
  float d[4] = {};
  int32_t index = first_index;
  int32_t last_k_block = layout.k_blocks - 1 - first_k_block + begin;  // position of its last block
  for (int32_t position = begin; position < end; position += kDecodePrefetch) {
#pragma unroll
    for (int i = 0; i < kDecodePrefetch; ++i) {
      if (position + i >= end) break;
      decode_multiply<Weights>(d, packed[i], b[i][0], b[i][1]);
      if (position + i + kDecodePrefetch < end) {
        load_weights(i);
        load_tokens(i);
      }
      if (position + i == last_k_block || position + i == end - 1) {
        const float scale = layer.epilogue.scalars[experts.expert[index]].down;
        const int32_t token = (lane & 3) * 2;
        const float w0 = weights[index][token] * scale;
        const float w1 = weights[index][token + 1] * scale;
        total[0] += d[0] * w0;
        total[1] += d[1] * w1;
        total[2] += d[2] * w0;
        total[3] += d[3] * w1;
        d[0] = d[1] = d[2] = d[3] = 0.0f;
        ++index;
        last_k_block += layout.k_blocks;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[warp][lane][i] = total[i];
  __syncthreads();

  const int32_t in_strip = static_cast<int32_t>(threadIdx.x) % kStripRows;
  const int32_t token = static_cast<int32_t>(threadIdx.x) / kStripRows;
  const int32_t feature = strip * kStripRows + in_strip;
  if (token >= layer.routing.tokens || token >= kDecodeTokens || feature >= layer.hidden) return;
  const int32_t from_lane = (in_strip >> 1) * 4 + (token >> 1);
  const int32_t element = (in_strip & 1) * 2 + (token & 1);
  const int64_t out = static_cast<int64_t>(token) * layer.hidden + feature;
  float sum = layer.addend != nullptr ? layer.addend[out] : 0.0f;
#pragma unroll
  for (int w = 0; w < kDecodeWarps; ++w) sum += sums[w][from_lane][element];
  if (layer.down_bias != nullptr) {
    for (int32_t i = 0; i < experts.count; ++i) {
      if (experts.slot[i][token] >= 0) {
        sum += weights[i][token] *
               layer.down_bias[static_cast<int64_t>(experts.expert[i]) * layer.hidden + feature];
      }
    }
  }
  if (layer.output_f32) {
    static_cast<float*>(layer.output)[out] = sum;
  } else {
    static_cast<uint16_t*>(layer.output)[out] = round_bf16(sum);
  }
}

}  // namespace moe4j::cuda
