// Grouped GEMM for Hopper with E4M3 tokens: sm90_grouped.cuh's ring and schedule around wgmma
// m64nNk32 e4m3, MXFP4 weights looked up into register A (fp8_fragment.cuh).
//
//   producer (one thread)                   consumer warpgroups (64 rows of weights each)
//   ------------------                      --------------------------------------------
//   wait empty[s]                           wait full[s], load the codes of 128 K
//   bulk copies: weights of all rows,  -->  look 64 K up into registers, 2 wgmma k32; while they
//   a block of tokens for 128 K             are in flight the next 64 K into the other registers;
//   (both arrive on full[s])                arrive on empty[s - 1] once its wgmma are done
//
// Three warpgroups a multiprocessor where registers allow: looking up is bound by latency. The
// matrix unit adds E4M3 products with fewer bits than F32 has: 5.8e-4 relative L2 over 2880 K
// (measured), which no promotion to other registers need improve.
#pragma once

#include <cstdint>
#include <utility>

#include "cuda/dequant/fp8_fragment.cuh"
#include "cuda/fp8_layout.hpp"
#include "cuda/gemm/epilogue.cuh"
#include "cuda/gemm/schedule.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mbarrier.cuh"
#include "cuda/ptx/ring_position.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace moe4j::cuda {

template <int kBlocks_, int kConsumers_, int kStages_, int... kSizes_>
struct Sm90Fp8Config {
  static constexpr int kBlocks = kBlocks_;               // a multiprocessor
  static constexpr int kConsumers = kConsumers_;         // warpgroups
  static constexpr int kStages = kStages_;               // of 128 K
  using Sizes = std::integer_sequence<int, kSizes_...>;  // columns of the main loops, ascending

  static constexpr int kMaxTokens = [] {
    int last = 0;
    ((last = kSizes_), ...);
    return last;
  }();
  static constexpr int kThreads = (kConsumers + 1) * 128;
  static constexpr int kProducerRegisters = kBlocks == 1 && kConsumers == 2 ? 40 : 32;
  static constexpr int kConsumerRegisters = kBlocks == 2 ? 104 : kConsumers == 2 ? 232 : 160;
  static_assert(((kSizes_ % 16 == 0) && ...), "main loops have a multiple of 16 columns");
  // A block starts with the same registers for all its threads, a multiple of 8.
  static_assert(kProducerRegisters + kConsumerRegisters * kConsumers <=
                    65536 / kBlocks / kThreads / 8 * 8 * (kConsumers + 1),
                "a block has no more registers");

  static constexpr int kStageTiles = kFp8TileK / kTileK;  // of weights
  static constexpr int kTokenBytes = kMaxTokens * kFp8TileK;
  static constexpr int kWeightBytes = kConsumers * kStageTiles * Fp8Fragment::kTileBytes;
  static constexpr int kStageBytes = kTokenBytes + (kWeightBytes + 1023) / 1024 * 1024;
  /** The schedule's bytes come on top. */
  static constexpr int kSharedBytes = kStages * kStageBytes + 2 * kStages * 8;
};

template <class Config>
struct Sm90Fp8Ring {
  uint8_t* base;
  uint32_t barriers;

  __device__ __forceinline__ uint8_t* tokens(uint32_t stage) const {
    return base + stage * Config::kStageBytes;
  }
  __device__ __forceinline__ uint8_t* weights(uint32_t stage) const {
    return tokens(stage) + Config::kTokenBytes;
  }
  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return barriers + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const {
    return barriers + (Config::kStages + stage) * 8;
  }
};

/** The producer: one thread. */
template <class Config>
__device__ __forceinline__ void sm90_fp8_produce(const GroupedGemm& gemm, const Schedule& schedule,
                                                 const Sm90Fp8Ring<Config>& ring) {
  constexpr uint32_t kTileBytes = Fp8Fragment::kTileBytes;
  const int64_t row_block_bytes = gemm.layout.row_block_bytes();
  RingPosition<Config::kStages> at;
  for (int32_t index = static_cast<int32_t>(blockIdx.x); index < schedule.size();
       index += static_cast<int32_t>(gridDim.x)) {
    const Tile tile = schedule.tile(index);
    const int32_t row_blocks =
        min(Config::kConsumers, gemm.layout.row_blocks - tile.row_tile * Config::kConsumers);
    const uint8_t* weights = gemm.weights + tile.expert * gemm.layout.expert_bytes() +
                             tile.row_tile * Config::kConsumers * row_block_bytes;
    const uint8_t* tokens = gemm.tokens.data + static_cast<int64_t>(tile.storage_begin) * 128;
    const uint32_t token_bytes = static_cast<uint32_t>(ceil_div(tile.row_count, 8)) * 1024;

    for (int32_t k_block = 0; k_block < gemm.layout.k_blocks; k_block += Config::kStageTiles) {
      const auto tiles =
          static_cast<uint32_t>(min(Config::kStageTiles, gemm.layout.k_blocks - k_block));
      const uint32_t weight_bytes = tiles * kTileBytes;
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      mbarrier_arrive_expect(full, static_cast<uint32_t>(row_blocks) * weight_bytes + token_bytes);
      copy_bulk(shared_address(ring.tokens(at.stage)), tokens, token_bytes, full);
      uint32_t destination = shared_address(ring.weights(at.stage));
      for (int32_t row_block = 0; row_block < row_blocks; ++row_block) {
        copy_bulk(destination, weights + row_block * row_block_bytes, weight_bytes, full);
        destination += Config::kStageTiles * kTileBytes;
      }
      tokens += gemm.tokens.capacity * 128;
      weights += weight_bytes;
      at.advance();
    }
  }
}

/** Main loop of one consumer warpgroup over one tile, kTokens columns wide. */
template <int kTokens, class Config>
class Sm90Fp8Multiplier {
 public:
  using Sums = float[kTokens / 2];

  __device__ __forceinline__ Sm90Fp8Multiplier(const Sm90Fp8Ring<Config>& ring, int warpgroup)
      : ring_(ring), warpgroup_(warpgroup) {}

  __device__ __forceinline__ void run(RingPosition<Config::kStages>& at, int32_t k_blocks,
                                      Sums& d) {
    Operand a[2] = {};
    int32_t rest = k_blocks;
#pragma unroll 1
    for (; rest >= Config::kStageTiles; rest -= Config::kStageTiles) multiply_stage(at, d, a);
    wgmma_wait<0>();
    release(previous_, releases_);
    if (rest > 0) {  // half a stage
      mbarrier_wait(ring_.full(at.stage), at.parity);
      unpack(load(at.stage, 0), a[0]);
      queue<0>(at.stage, d, a[0]);
      wgmma_wait<0>();
      release(at.stage, true);
      at.advance();
    }
    wgmma_pin<kTokens / 2>(d);
  }

 private:
  using Operand = uint32_t[2][4];  // of 64 K: two wgmma, in flight together

  __device__ __forceinline__ void multiply_stage(RingPosition<Config::kStages>& at, Sums& d,
                                                 Operand (&a)[2]) {
    const uint32_t stage = at.stage;
    mbarrier_wait(ring_.full(stage), at.parity);
    const Fp8Fragment tiles[2] = {load(stage, 0), load(stage, 1)};
    unpack(tiles[0], a[0]);
    queue<0>(stage, d, a[0]);
    wait_for(a[1]);
    release(previous_, releases_);
    unpack(tiles[1], a[1]);
    queue<1>(stage, d, a[1]);
    wait_for(a[0]);
    releases_ = true;
    previous_ = stage;
    at.advance();
  }

  __device__ __forceinline__ Fp8Fragment load(uint32_t stage, int tile) const {
    return Fp8Fragment::load_shared(
        ring_.weights(stage) + (warpgroup_ * Config::kStageTiles + tile) * Fp8Fragment::kTileBytes,
        static_cast<int>(threadIdx.x) / 32 % 4, static_cast<int>(threadIdx.x) % 32);
  }

  static __device__ __forceinline__ void unpack(const Fp8Fragment& packed, Operand& a) {
    packed.unpack<0>(a[0]);
    packed.unpack<1>(a[1]);
  }

  /** The two wgmma of weight tile kTile of a stage. */
  template <int kTile>
  __device__ __forceinline__ void queue(uint32_t stage, Sums& d, Operand& a) const {
    const uint64_t b = wgmma_descriptor(shared_address(ring_.tokens(stage))) + kTile * 4;
    wgmma_fence();
    wgmma_m64k32_e4m3<kTokens>(d, a[0], b);
    wgmma_m64k32_e4m3<kTokens>(d, a[1], b + 2);
    wgmma_commit();
  }

  /** Until all wgmma before the latest group are done: their operand is free. */
  static __device__ __forceinline__ void wait_for(Operand& a) {
    wgmma_wait<1>();
#pragma unroll
    for (int i = 0; i < 2; ++i) wgmma_pin_operand(a[i]);
  }

  /** Gives a stage back to the producer: each thread for its own reads (sm90_grouped.cuh). */
  __device__ __forceinline__ void release(uint32_t stage, bool condition) const {
    mbarrier_arrive_if(ring_.empty(stage), condition);
  }

  const Sm90Fp8Ring<Config>& ring_;
  int warpgroup_;
  uint32_t previous_ = 0;  // stage whose wgmma may still be in flight
  bool releases_ = false;
};

template <int kTokens, Projection kProjection, class Config>
__device__ __forceinline__ void sm90_fp8_consume_tile(const GroupedGemm& gemm, const Tile& tile,
                                                      const Sm90Fp8Ring<Config>& ring,
                                                      RingPosition<Config::kStages>& at,
                                                      int warpgroup) {
  float d[kTokens / 2] = {};
  Sm90Fp8Multiplier<kTokens, Config>(ring, warpgroup).run(at, gemm.layout.k_blocks, d);
  const int32_t row_block = tile.row_tile * Config::kConsumers + warpgroup;
  if (row_block >= gemm.layout.row_blocks) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto* scales =
      reinterpret_cast<const float2*>(gemm.token_scales + tile.storage_begin) + lane % 4;
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
    if (n * 8 < tile.row_count) {
      const float2 scale = scales[n * 4];
      d[n * 4] *= scale.x;
      d[n * 4 + 1] *= scale.y;
      d[n * 4 + 2] *= scale.x;
      d[n * 4 + 3] *= scale.y;
    }
  }
  const int32_t strip = row_block * kStripsPerTile + static_cast<int>(threadIdx.x) / 32 % 4;
  StripEpilogue<kProjection> epilogue(gemm.epilogue, tile, strip, lane);
  store_columns<kTokens / 8>(gemm.epilogue, epilogue, tile.row_count, d);
}

/** Runs the main loop of the first size that holds the tile. */
template <Projection kProjection, class Config, int kFirst, int... kRest>
__device__ __forceinline__ void sm90_fp8_dispatch(std::integer_sequence<int, kFirst, kRest...>,
                                                  const GroupedGemm& gemm, const Tile& tile,
                                                  const Sm90Fp8Ring<Config>& ring,
                                                  RingPosition<Config::kStages>& at,
                                                  int warpgroup) {
  if constexpr (sizeof...(kRest) == 0) {
    sm90_fp8_consume_tile<kFirst, kProjection>(gemm, tile, ring, at, warpgroup);
  } else {
    if (tile.row_count <= kFirst) {
      sm90_fp8_consume_tile<kFirst, kProjection>(gemm, tile, ring, at, warpgroup);
    } else {
      sm90_fp8_dispatch<kProjection>(std::integer_sequence<int, kRest...>{}, gemm, tile, ring, at,
                                     warpgroup);
    }
  }
}

template <Projection kProjection, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    sm90_fp8_grouped_gemm(const __grid_constant__ GroupedGemm gemm) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t shared[];
  uint8_t* const barriers = shared + Config::kStages * Config::kStageBytes;
  const Sm90Fp8Ring<Config> ring{shared, shared_address(barriers)};
  if (threadIdx.x == 0) {
    for (uint32_t s = 0; s < Config::kStages; ++s) {
      mbarrier_init(ring.full(s), 1);                          // the producer, and bytes
      mbarrier_init(ring.empty(s), Config::kConsumers * 128);  // each consumer thread
    }
    mbarrier_init_fence();
  }

  // The kernel before wrote this one's tokens; the offsets are older.
  const Schedule schedule(reinterpret_cast<int32_t*>(barriers + 2 * Config::kStages * 8),
                          gemm.offsets, gemm.experts,
                          ceil_div(gemm.layout.row_blocks, Config::kConsumers), Config::kMaxTokens);
  grid_dependency_wait();
  grid_dependency_launch();

  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Config::kProducerRegisters));
    if (threadIdx.x == 0) sm90_fp8_produce(gemm, schedule, ring);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Config::kConsumerRegisters));
    RingPosition<Config::kStages> at;
    for (int32_t index = static_cast<int32_t>(blockIdx.x); index < schedule.size();
         index += static_cast<int32_t>(gridDim.x)) {
      const Tile tile = schedule.tile(index);
      sm90_fp8_dispatch<kProjection>(typename Config::Sizes{}, gemm, tile, ring, at, warpgroup - 1);
    }
  }
#endif
}

}  // namespace moe4j::cuda
