// The whole layer for up to eight tokens on Hopper, in two kernels, without a permutation.
//
// A distinct chosen expert is multiplied with all of its tokens at once (block_columns.cuh). What
// matters is to keep enough bytes of weights under way, from the first moment to the last.
//
//   producer (one thread)                     four warps, one for each strip of 16 rows
//   ---------------------                     -----------------------------------------
//   wait empty[s]                             wait full[s]
//   one bulk copy: 64 rows x 256 K of    -->  load tokens, unpack weights, mma.sync
//   weights (arrives on full[s])              arrive on empty[s]
//
//   sm90_decode_gate_up   persistent over units of 64 rows of one expert; x lies in shared memory;
//                         the producer runs ahead into the next unit; activation; h to memory
//   sm90_decode_down      cluster = 64 output rows; its blocks share out (expert, K) of all chosen
//                         experts and send each other their sums: weighted sum, bias, addend,
//                         rounding. Finalize is part of it.
//
// GEMM2's blocks start while GEMM1's end, list the experts again, fill their rings with weights
// and only then wait for h: memory has no idle time between the kernels. For that both must
// fit into a multiprocessor side by side.
//
// Loops of a few turns are not unrolled: their instructions come from cold memory and run once.
//
// Order and number of additions depend on nothing that varies: same inputs, same bits.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/gemm/block_columns.cuh"
#include "cuda/gemm/decode_epilogue.cuh"
#include "cuda/gemm/sm90_decode.hpp"
#include "cuda/gemm/sm90_decode_chunks.cuh"
#include "cuda/gemm/sm90_decode_experts.cuh"
#include "cuda/ptx/cluster.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mbarrier.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/ptx/ring_position.cuh"
#include "cuda/ptx/uniform.cuh"

namespace moe4j::cuda {

/** All consumers of a block meet. */
__device__ __forceinline__ void consumers_sync() {
  asm volatile("bar.sync 1, %0;" ::"n"(kDecodeConsumers) : "memory");
}

/** Stages in shared memory, and the barriers that hand them over. */
struct DecodeRing {
  uint8_t* base;
  uint32_t barriers;
  uint32_t stages;
  uint32_t stage_bytes;

  __device__ __forceinline__ uint8_t* stage(uint32_t s) const { return base + s * stage_bytes; }
  __device__ __forceinline__ uint32_t full(uint32_t s) const { return barriers + s * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t s) const {
    return barriers + (stages + s) * 8;
  }
  /** GEMM2: for the sums of all blocks. */
  __device__ __forceinline__ uint32_t extra() const { return barriers + 2 * stages * 8; }

  __device__ __forceinline__ void init() const {
#pragma unroll 1
    for (uint32_t s = 0; s < stages; ++s) {
      mbarrier_init(full(s), 1);  // the producer, and bytes
      mbarrier_init(empty(s), kDecodeConsumers);
    }
    mbarrier_init(extra(), 1);
    mbarrier_init_fence();
  }
};

/** Where a chunk's weights lie. */
template <class Chunks>
__device__ __forceinline__ const uint8_t* chunk_weights(const Chunks& chunk,
                                                        const ChosenExpert* experts,
                                                        const uint8_t* weights,
                                                        const WeightLayout& layout) {
  return weights + experts[chunk.index].expert * layout.expert_bytes() +
         chunk.row_block * layout.row_block_bytes() +
         static_cast<int64_t>(chunk.k) * layout.tile_bytes;
}

/** The bulk copy of a chunk's weights; `other_bytes` more will arrive. One thread. */
template <class Chunks>
__device__ __forceinline__ void copy_weights(const DecodeRing& ring, uint32_t stage,
                                             const Chunks& chunk, const ChosenExpert* experts,
                                             const uint8_t* weights, const WeightLayout& layout,
                                             int32_t other_bytes) {
  const int32_t bytes = chunk.blocks * layout.tile_bytes;
  mbarrier_arrive_expect(ring.full(stage), static_cast<uint32_t>(bytes + other_bytes));
  copy_bulk(shared_address(ring.stage(stage)), chunk_weights(chunk, experts, weights, layout),
            static_cast<uint32_t>(bytes), ring.full(stage));
}

/** One strip of a stage: `tokens` is the address of this lane's token, of the stage's K. */
template <int kFormat, int kShare>
__device__ __forceinline__ void multiply_stage(BlockColumns<kFormat, kShare>& columns,
                                               const uint8_t* weights, uint32_t tokens,
                                               int32_t blocks, int strip) {
  if (blocks == kDecodeStageBlocks) {
    columns.template multiply<kDecodeStageBlocks>(weights, strip, tokens);
    return;
  }
#pragma unroll 1
  for (int32_t block = 0; block < blocks; ++block) {
    columns.template multiply<1>(weights + block * strip_layout(kFormat).tile_bytes(), strip,
                                 tokens + static_cast<uint32_t>(block) * 128);
  }
}

/**
 * Multiplies the chunks of one unit as their stages land; `tokens(stage)` is where token(lane)'s
 * elements of the current chunk are. Leaves the first chunk of the next unit.
 */
template <class Columns, class Chunks, class Tokens>
__device__ __forceinline__ void multiply_unit(Columns& columns, const DecodeRing& ring,
                                              DynamicRingPosition& at, Chunks& chunk, int strip,
                                              const Tokens& tokens) {
  bool ends = false;
  while (!ends) {
    mbarrier_wait(ring.full(at.stage), at.parity);
    uint8_t* const stage = ring.stage(at.stage);
    multiply_stage(columns, stage, tokens(stage), chunk.blocks, strip);
    mbarrier_arrive(ring.empty(at.stage));
    at.advance(ring.stages);
    ends = chunk.ends();
    chunk.advance();
  }
}

/**
 * Calls function with the number of scale blocks that share columns for an expert of so many
 * tokens, as a compile-time constant.
 */
template <class Function>
__device__ __forceinline__ void with_share(int32_t tokens, const Function& function) {
  if (tokens <= 2) {
    function(std::integral_constant<int, 4>{});
  } else {
    function(std::integral_constant<int, 1>{});
  }
}

/** The n-th of the tokens in a mask, or -1. */
__device__ __forceinline__ int32_t nth_token(uint32_t mask, int n) {
#pragma unroll 1
  for (; n > 0; --n) mask &= mask - 1;
  return __ffs(static_cast<int>(mask)) - 1;
}

/**
 * All consumers: x to shared memory, in fragment order and times kTokenScale. Loads of several
 * places overlap: each waits for cold memory.
 */
__device__ __forceinline__ void stage_decode_tokens(const DecodeLayer& layer, uint8_t* rows) {
  constexpr int kInFlight = 6;
  const int32_t chunks = layer.hidden / 8;
  const auto tokens = static_cast<int32_t>(layer.routing.tokens);
#pragma unroll 1
  for (int32_t token = 0; token < tokens; ++token) {
    const auto* const source = reinterpret_cast<const uint4*>(layer.tokens) + token * chunks;
    uint8_t* const row = rows + token * decode_row_bytes(layer.hidden);
#pragma unroll 1
    for (auto first = static_cast<int32_t>(threadIdx.x); first < chunks;
         first += kInFlight * kDecodeConsumers) {
      uint4 v[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int32_t chunk = first + i * kDecodeConsumers;
        if (chunk < chunks) v[i] = source[chunk];
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int32_t chunk = first + i * kDecodeConsumers;
        if (chunk >= chunks) break;
        uint8_t* const to = row + fragment_offset(chunk * 8) * 2;
        *reinterpret_cast<uint32_t*>(to) = multiply_bf16x2(v[i].x, kTokenScaleBf16x2);
        *reinterpret_cast<uint32_t*>(to + 32) = multiply_bf16x2(v[i].y, kTokenScaleBf16x2);
        *reinterpret_cast<uint32_t*>(to + 64) = multiply_bf16x2(v[i].z, kTokenScaleBf16x2);
        *reinterpret_cast<uint32_t*>(to + 96) = multiply_bf16x2(v[i].w, kTokenScaleBf16x2);
      }
    }
  }
}

/** GEMM2's blocks start when a producer of GEMM1 has so many K blocks left: they take some 2 us. */
inline constexpr int32_t kDecodeLead = 17;

template <int kFormat>
__global__ void __launch_bounds__(kSm90DecodeThreads, kSm90DecodeBlocks)
    sm90_decode_gate_up(const __grid_constant__ Sm90DecodeLayer layer) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int kStageBlocks = kDecodeStageBlocks;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ int32_t count;
  const auto tokens = static_cast<int32_t>(layer.routing.tokens);
  const DecodeShared parts =
      gate_up_shared(kFormat, tokens, layer.epilogue.slots, layer.hidden, layer.stages);
  const DecodeRing ring = {shared, shared_address(shared + parts.barriers),
                           static_cast<uint32_t>(layer.stages),
                           static_cast<uint32_t>(parts.stage_bytes)};
  auto* experts = reinterpret_cast<ChosenExpert*>(shared + parts.experts);
  const WeightLayout& layout = layer.gate_up_layout;
  const int32_t row_bytes = decode_row_bytes(layer.hidden);
  // MXFP4's kernel would spill more with a uniform number, and take 4 to 7% longer (measured).
  const int number = static_cast<int>(threadIdx.x) / 32;
  const int warp = kFormat == MOE4J_FORMAT_NVFP4 ? uniform(number) : number;
  const int lane = static_cast<int>(threadIdx.x) % 32;

  const bool produces = warp == kStripsPerTile;
  if (produces) {
    grid_dependency_wait();  // a kernel may have made the routing
    const int32_t found = list_experts(layer, experts, lane, [&] {
      if (lane == 0) ring.init();
    });
    if (lane == 0) {
      count = found;
      GateUpChunks chunk(layer, kStageBlocks, found);
#pragma unroll 1
      for (uint32_t s = 0; s < ring.stages && chunk.valid(); ++s, chunk.advance()) {
        copy_weights(ring, s, chunk, experts, layer.gate_up, layout, 0);
      }
    }
  } else {
    stage_decode_tokens(layer, shared + parts.tokens);
  }
  __syncthreads();
  GateUpChunks chunk(layer, kStageBlocks, count);
  DynamicRingPosition at;
  if (produces) {
    if (lane != 0) return;
#pragma unroll 1
    for (uint32_t s = 0; s < ring.stages && chunk.valid(); ++s) chunk.advance();  // on their way
    at.parity = 1;
#pragma unroll 1
    for (; chunk.valid(); chunk.advance()) {
      if (chunk.near_end(kDecodeLead)) grid_dependency_launch();
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      copy_weights(ring, at.stage, chunk, experts, layer.gate_up, layout, 0);
      at.advance(ring.stages);
    }
    grid_dependency_launch();
    return;
  }

  const int strip = warp;
  const uint32_t x = shared_address(shared + parts.tokens);

  const auto activate_unit = [&](auto share) {
    using Columns = BlockColumns<kFormat, decltype(share)::value>;
    const ChosenExpert& chosen = experts[chunk.index];
    const DecodeStrip epilogue(layer, chosen.expert, chunk.row_block * kStripsPerTile + strip,
                               lane >> 2);
    const int32_t token = nth_token(chosen.tokens, Columns::token(lane));
    const uint32_t row = x + static_cast<uint32_t>(max(token, 0) * row_bytes);
    Columns columns(lane, token >= 0);
    multiply_unit(columns, ring, at, chunk, strip,
                  [&](uint8_t*) { return row + static_cast<uint32_t>(chunk.k) * 128; });
    float d[2 * Columns::kLaneTokens];
    columns.finish(d);
    if (Columns::kLaneTokens == 1 && (lane & 1) != 0) return;  // the lane beside has the same
#pragma unroll
    for (int i = 0; i < Columns::kLaneTokens; ++i) {
      const int32_t to = nth_token(chosen.tokens, Columns::first_token(lane) + i);
      if (to < 0) continue;
      epilogue.activate(to, chosen.slot[to], d[i], d[Columns::kLaneTokens + i],
                        [&](int64_t h_row, int32_t feature, float value) {
                          layer.h[h_row + fragment_offset(feature)] =
                              round_bf16(value * kTokenScale);
                        });
    }
  };
  while (chunk.valid()) {
    with_share(__popc(experts[chunk.index].tokens), activate_unit);
    __syncwarp();
  }
#endif
}

template <int kFormat>
__global__ void __launch_bounds__(kSm90DecodeThreads, kSm90DecodeBlocks)
    sm90_decode_down(const __grid_constant__ Sm90DecodeLayer layer) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int kStageBlocks = kDecodeStageBlocks;
  constexpr int32_t kRowBytes = decode_row_bytes(kStageBlocks * kTileK);
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ int32_t count;
  const auto tokens = static_cast<int32_t>(layer.routing.tokens);
  const DecodeShared parts = down_shared(kFormat, tokens, layer.epilogue.slots, layer.stages);
  const DecodeRing ring = {shared, shared_address(shared + parts.barriers),
                           static_cast<uint32_t>(layer.stages),
                           static_cast<uint32_t>(parts.stage_bytes)};
  auto* experts = reinterpret_cast<ChosenExpert*>(shared + parts.experts);
  auto* sums = reinterpret_cast<float*>(shared + parts.sums);
  auto* base = reinterpret_cast<float*>(shared + parts.base);
  const WeightLayout& layout = layer.down_layout;
  const int warp = uniform(static_cast<int>(threadIdx.x) / 32);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // This block's share of the cluster's outputs: [token][rows].
  const auto blocks = static_cast<int32_t>(cluster_size());
  const auto rank = static_cast<int32_t>(cluster_rank());
  const int log2_rows = __ffs(kTileRows) - __ffs(blocks);
  const int32_t rows = 1 << log2_rows;
  const int32_t first_row = static_cast<int32_t>(blockIdx.x) * rows;
  const int32_t outputs = tokens * rows;

  const bool produces = warp == kStripsPerTile;
  const auto token_bytes = [&](const DownChunks& c) {
    return __popc(experts[c.index].tokens) * c.blocks * kTileK * 2;
  };
  if (produces) {
    // The routing is older than the kernel before this one.
    const int32_t found = list_experts(layer, experts, lane, [&] {
      if (lane != 0) return;
      ring.init();
      mbarrier_arrive_expect(ring.extra(), static_cast<uint32_t>(tokens * kTileRows * 4));
    });
    if (lane == 0) {
      count = found;
      DownChunks chunk(layer, kStageBlocks, found);
#pragma unroll 1
      for (uint32_t s = 0; s < ring.stages && chunk.valid(); ++s, chunk.advance()) {
        copy_weights(ring, s, chunk, experts, layer.down, layout, token_bytes(chunk));
      }
    }
  }
  cluster_arrive();  // this block's barriers are ready
  __syncthreads();
  if (produces) {
    if (lane != 0) return;
    const auto copy_tokens = [&](uint32_t stage, const DownChunks& c) {
      const ChosenExpert& chosen = experts[c.index];
      uint32_t to = shared_address(ring.stage(stage) + parts.tokens);
#pragma unroll 1
      for (uint32_t left = chosen.tokens; left != 0; left &= left - 1) {
        const int32_t token = __ffs(static_cast<int>(left)) - 1;
        const int64_t pair =
            static_cast<int64_t>(token) * layer.epilogue.slots + chosen.slot[token];
        copy_bulk(to, layer.h + pair * layer.intermediate + c.k * kTileK,
                  static_cast<uint32_t>(c.blocks * kTileK * 2), ring.full(stage));
        to += kRowBytes;
      }
    };
    DownChunks chunk(layer, kStageBlocks, count);
    grid_dependency_wait();
    grid_dependency_launch();
#pragma unroll 1
    for (uint32_t s = 0; s < ring.stages && chunk.valid(); ++s, chunk.advance()) {
      copy_tokens(s, chunk);  // their weights are on their way
    }
    DynamicRingPosition at;
    at.parity = 1;
#pragma unroll 1
    for (; chunk.valid(); chunk.advance()) {
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      copy_weights(ring, at.stage, chunk, experts, layer.down, layout, token_bytes(chunk));
      copy_tokens(at.stage, chunk);
      at.advance(ring.stages);
    }
    return;
  }

#pragma unroll 1
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count; i += kDecodeConsumers) {
    experts[i].scale = layer.epilogue.scalars[experts[i].expert].down;
  }
#pragma unroll 1
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < outputs; i += kDecodeConsumers) {
    const int32_t token = i >> log2_rows;
    const int32_t feature = first_row + (i & (rows - 1));
    float sum = 0.0f;
    if (feature < layer.hidden) {
      if (layer.addend != nullptr) {
        sum = layer.addend[static_cast<int64_t>(token) * layer.hidden + feature];
      }
      if (layer.down_bias != nullptr) {
        for (int32_t e = 0; e < count; ++e) {
          if ((experts[e].tokens >> token & 1) == 0) continue;
          sum += experts[e].weight[token] *
                 layer.down_bias[static_cast<int64_t>(experts[e].expert) * layer.hidden + feature];
        }
      }
    }
    base[i] = sum;
  }
  consumers_sync();

  const int strip = warp;
  // This warp's sums of 16 rows; strip rows g and g + 8 are features 2g and 2g + 1.
  auto* own = reinterpret_cast<float2*>(shared + parts.own) + warp * tokens * 8;
#pragma unroll 1
  for (int32_t i = lane; i < tokens * 8; i += 32) own[i] = make_float2(0.0f, 0.0f);
  __syncwarp();
  DynamicRingPosition at;
  DownChunks chunk(layer, kStageBlocks, count);

  const auto multiply_expert = [&](auto share) {
    using Columns = BlockColumns<kFormat, decltype(share)::value>;
    const ChosenExpert& chosen = experts[chunk.index];
    const int32_t row = Columns::token(lane);
    const bool has_token = row < __popc(chosen.tokens);
    const uint32_t h = static_cast<uint32_t>(parts.tokens + (has_token ? row : 0) * kRowBytes);
    Columns columns(lane, has_token);
    multiply_unit(columns, ring, at, chunk, strip,
                  [&](uint8_t* stage) { return shared_address(stage) + h; });
    float d[2 * Columns::kLaneTokens];
    columns.finish(d);
    if (Columns::kLaneTokens == 1 && (lane & 1) != 0) return;  // the lane beside has the same
#pragma unroll
    for (int i = 0; i < Columns::kLaneTokens; ++i) {
      const int32_t to = nth_token(chosen.tokens, Columns::first_token(lane) + i);
      if (to < 0) continue;
      const float weight = chosen.weight[to] * chosen.scale;
      float2& sum = own[to * 8 + (lane >> 2)];
      sum.x += d[i] * weight;
      sum.y += d[Columns::kLaneTokens + i] * weight;
    }
  };
  while (chunk.valid()) {
    with_share(__popc(experts[chunk.index].tokens), multiply_expert);
    __syncwarp();
  }

  // To the block that has these features.
  cluster_wait();  // its barriers are
#pragma unroll 1
  for (int32_t i = lane; i < tokens * 8; i += 32) {
    const int32_t row = strip * kStripRows + i % 8 * 2;
    const auto owner = static_cast<uint32_t>(row >> log2_rows);
    const float* to = sums + rank * outputs + i / 8 * rows + (row & (rows - 1));
    store_cluster_async(cluster_address(shared_address(to), owner), own[i].x, own[i].y,
                        cluster_address(ring.extra(), owner));
  }
  mbarrier_wait(ring.extra(), 0);
#pragma unroll 1
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < outputs; i += kDecodeConsumers) {
    float sum = base[i];
#pragma unroll
    for (int32_t part = 0; part < kMaxDownCluster; ++part) {
      if (part < blocks) sum += sums[part * outputs + i];
    }
    const int32_t feature = first_row + (i & (rows - 1));
    if (feature >= layer.hidden) continue;
    const int64_t out = static_cast<int64_t>(i >> log2_rows) * layer.hidden + feature;
    if (layer.output_f32) {
      static_cast<float*>(layer.output)[out] = sum;
    } else {
      static_cast<uint16_t*>(layer.output)[out] = round_bf16(sum);
    }
  }
#endif
}

}  // namespace moe4j::cuda
