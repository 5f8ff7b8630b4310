// Grouped GEMM for Hopper: wgmma with dequantized weights as register A, tokens as B.
//
//   producer (one thread)                   consumer warpgroups 0, 1 (64 rows of weights each)
//   ------------------                      -----------------------------------------------
//   wait empty[s]                           wait full[s]
//   bulk copies: weights of 128 rows,  -->  load codes, dequantize 32 K into registers
//   a block of tokens for each 64 K    -->  wgmma 2 x k16 in flight while the next 32 K are
//   (both arrive on full[s])                dequantized into the other registers
//                                           arrive on empty[s - 1] once its wgmma are done
//
// Blocks are persistent over the schedule's tiles, and the producer runs ahead into the next tile
// while consumers store the last one. The number of tokens of a tile is known only on the device:
// the kernel holds one main loop for each of Config::kSizes and picks the smallest that fits, so
// that an expert with 140 tokens costs 144 and not 256. The ring's stages are sized for the
// largest.
//
// Tokens lie in memory as wgmma wants them in shared memory (TiledRows), so that nothing but the
// copy engine ever writes there: no fence between proxies, which would stall consumers every stage.
#pragma once

#include <cstdint>
#include <utility>

#include "cuda/dequant/fragment.cuh"
#include "cuda/gemm/epilogue.cuh"
#include "cuda/gemm/schedule.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mbarrier.cuh"
#include "cuda/ptx/ring_position.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace moe4j::cuda {

template <int kFormat, int kBlocks_, int kStageBlocks_, int kStages_, int... kSizes_>
struct Sm90Config {
  // Two blocks a multiprocessor overlap one's epilogue with the other's main loop and give the
  // schedulers more warps to dequantize with; narrow tiles have the registers for it.
  static constexpr int kBlocks = kFormat == MOE4J_FORMAT_BF16 ? 1 : kBlocks_;
  static constexpr int kStageBlocks = kStageBlocks_;     // of 64 K a stage
  using Sizes = std::integer_sequence<int, kSizes_...>;  // columns of the main loops, ascending

  static constexpr int kMaxTokens = [] {
    int last = 0;
    ((last = kSizes_), ...);
    return last;
  }();
  static constexpr int kConsumers = 2;  // warpgroups
  static constexpr int kThreads = (kConsumers + 1) * 128;
  static constexpr int kRowTile = kConsumers * kTileRows;
  static constexpr int kProducerRegisters = kBlocks == 1 ? 40 : 24;
  static constexpr int kConsumerRegisters = kBlocks == 1 ? 232 : 104;

  static_assert(((kSizes_ % 16 == 0) && ...), "main loops have a multiple of 16 columns");
  static_assert(kBlocks * (kProducerRegisters * 128 + kConsumerRegisters * 256) <= 65536,
                "one multiprocessor has 64 K registers");

  // BF16 weights are four times as large: the ring gets fewer stages, at least two.
  static constexpr int kStages = kFormat != MOE4J_FORMAT_BF16 ? kStages_
                                 : kStages_ > 5               ? kStages_ / 2
                                                              : 2;
  static_assert(kStages >= 2, "a stage is released when the next one has landed");

  static constexpr int kTokenBlockBytes = kMaxTokens * kTileK * 2;
  static constexpr int kTokenBytes = kStageBlocks * kTokenBlockBytes;
  static constexpr int weight_bytes(int tile_bytes) {
    return kConsumers * kStageBlocks * tile_bytes;
  }
  static constexpr int stage_bytes(int tile_bytes) {
    return kTokenBytes + (weight_bytes(tile_bytes) + 1023) / 1024 * 1024;
  }
  /** The schedule's bytes come on top. */
  static constexpr int shared_bytes(int tile_bytes) {
    return kStages * stage_bytes(tile_bytes) + 2 * kStages * 8;
  }
};

template <int kFormat, class Config>
struct Sm90Ring {
  using Weights = Fragment<kFormat>;
  static constexpr int kStageBytes = Config::stage_bytes(Weights::kTileBytes);

  uint8_t* base;
  uint32_t barriers;

  __device__ __forceinline__ uint8_t* tokens(uint32_t stage) const {
    return base + stage * kStageBytes;
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
template <int kFormat, class Config>
__device__ __forceinline__ void sm90_produce(const GroupedGemm& gemm, const Schedule& schedule,
                                             const Sm90Ring<kFormat, Config>& ring) {
  constexpr int kTileBytes = Fragment<kFormat>::kTileBytes;
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

    for (int32_t k_block = 0; k_block < gemm.layout.k_blocks; k_block += Config::kStageBlocks) {
      const auto blocks =
          static_cast<uint32_t>(min(Config::kStageBlocks, gemm.layout.k_blocks - k_block));
      const uint32_t weight_bytes = blocks * kTileBytes;
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      mbarrier_arrive_expect(
          full, static_cast<uint32_t>(row_blocks) * weight_bytes + blocks * token_bytes);
      uint32_t destination = shared_address(ring.weights(at.stage));
      copy_bulk(destination, weights, weight_bytes, full);
      if (row_blocks > 1) {
        copy_bulk(destination + Config::kStageBlocks * kTileBytes, weights + row_block_bytes,
                  weight_bytes, full);
      }
      destination = shared_address(ring.tokens(at.stage));
      for (uint32_t block = 0; block < blocks; ++block) {
        copy_bulk(destination, tokens, token_bytes, full);
        destination += Config::kTokenBlockBytes;
        tokens += gemm.tokens.capacity * 128;
      }
      weights += weight_bytes;
      at.advance();
    }
  }
}

/**
 * Main loop of one consumer warpgroup over one tile, kTokens columns wide.
 *
 * A stage is released once the first wgmma_wait<1>() of the next stage has returned: all wgmma of
 * the stage have read its tokens then, and each thread has read its codes long before. Every thread
 * arrives for its own reads. One lane could for its warp, after __syncwarp(), but racecheck follows
 * no order through another thread's arrival and would report every stage; it is no faster.
 */
template <int kTokens, int kFormat, class Config>
__device__ __forceinline__ void sm90_multiply(const Sm90Ring<kFormat, Config>& ring,
                                              RingPosition<Config::kStages>& at, int32_t k_blocks,
                                              int warpgroup, float (&d)[kTokens / 2]) {
  using Weights = Fragment<kFormat>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int strip = static_cast<int>(threadIdx.x) / 32 % 4;
  uint32_t a[2][2][4] = {};  // two buffers of 2 x k16
  uint32_t previous = 0;     // stage whose wgmma may still be in flight

  const auto multiply_block = [&](uint32_t stage, int block, bool releases) {
    const typename Weights::Packed packed = Weights::load_shared(
        ring.weights(stage) + (warpgroup * Config::kStageBlocks + block) * Weights::kTileBytes,
        strip, lane);
    const uint64_t b = wgmma_descriptor(shared_address(ring.tokens(stage)) +
                                        static_cast<uint32_t>(block) * Config::kTokenBlockBytes);
    Weights::template unpack<0>(packed, a[0][0]);
    Weights::template unpack<1>(packed, a[0][1]);
    wgmma_fence();
    wgmma_m64k16<kTokens>(d, a[0][0], b);
    wgmma_m64k16<kTokens>(d, a[0][1], b + 2);
    wgmma_commit();
    wgmma_wait<1>();  // all before this pair are done
    wgmma_pin_operand(a[1][0]);
    wgmma_pin_operand(a[1][1]);
    mbarrier_arrive_if(ring.empty(previous), releases);
    Weights::template unpack<2>(packed, a[1][0]);
    Weights::template unpack<3>(packed, a[1][1]);
    wgmma_fence();
    wgmma_m64k16<kTokens>(d, a[1][0], b + 4);
    wgmma_m64k16<kTokens>(d, a[1][1], b + 6);
    wgmma_commit();
    // FP4 codes pass through other registers, BF16 weights are loaded into the operand's own.
    wgmma_wait<kFormat == MOE4J_FORMAT_BF16 ? 0 : 1>();
    wgmma_pin_operand(a[0][0]);
    wgmma_pin_operand(a[0][1]);
  };

  bool releases = false;
  const int32_t whole_stages = k_blocks / Config::kStageBlocks;
#pragma unroll 1
  for (int32_t i = 0; i < whole_stages; ++i) {
    mbarrier_wait(ring.full(at.stage), at.parity);
#pragma unroll
    for (int block = 0; block < Config::kStageBlocks; ++block) {
      multiply_block(at.stage, block, releases && block == 0);
    }
    releases = true;
    previous = at.stage;
    at.advance();
  }
  wgmma_wait<0>();
  mbarrier_arrive_if(ring.empty(previous), releases);
  if constexpr (Config::kStageBlocks > 1) {
    const int32_t rest = k_blocks % Config::kStageBlocks;
    if (rest != 0) {
      mbarrier_wait(ring.full(at.stage), at.parity);
#pragma unroll 1
      for (int32_t block = 0; block < rest; ++block) multiply_block(at.stage, block, false);
      wgmma_wait<0>();
      mbarrier_arrive(ring.empty(at.stage));
      at.advance();
    }
  }
  wgmma_pin(d);
}

template <int kTokens, int kFormat, Projection kProjection, class Config>
__device__ __forceinline__ void sm90_consume_tile(const GroupedGemm& gemm, const Tile& tile,
                                                  const Sm90Ring<kFormat, Config>& ring,
                                                  RingPosition<Config::kStages>& at,
                                                  int warpgroup) {
  float d[kTokens / 2] = {};
  sm90_multiply<kTokens>(ring, at, gemm.layout.k_blocks, warpgroup, d);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t strip = (tile.row_tile * Config::kConsumers + warpgroup) * kStripsPerTile +
                        static_cast<int>(threadIdx.x) / 32 % 4;
  const StripEpilogue<kProjection> epilogue(gemm.epilogue, tile, strip, lane);
  store_columns<kTokens / 8>(gemm.epilogue, epilogue, tile.row_count, lane, d);
}

/** Runs the main loop of the first size that holds the tile. */
template <int kFormat, Projection kProjection, class Config, int kFirst, int... kRest>
__device__ __forceinline__ void sm90_dispatch(std::integer_sequence<int, kFirst, kRest...>,
                                              const GroupedGemm& gemm, const Tile& tile,
                                              const Sm90Ring<kFormat, Config>& ring,
                                              RingPosition<Config::kStages>& at, int warpgroup) {
  if constexpr (sizeof...(kRest) == 0) {
    sm90_consume_tile<kFirst, kFormat, kProjection>(gemm, tile, ring, at, warpgroup);
  } else {
    if (tile.row_count <= kFirst) {
      sm90_consume_tile<kFirst, kFormat, kProjection>(gemm, tile, ring, at, warpgroup);
    } else {
      sm90_dispatch<kFormat, kProjection>(std::integer_sequence<int, kRest...>{}, gemm, tile, ring,
                                          at, warpgroup);
    }
  }
}

template <int kFormat, Projection kProjection, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    sm90_grouped_gemm(const __grid_constant__ GroupedGemm gemm) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Ring = Sm90Ring<kFormat, Config>;
  extern __shared__ __align__(1024) uint8_t shared[];
  uint8_t* const barriers = shared + Config::kStages * Ring::kStageBytes;
  const Ring ring{shared, shared_address(barriers)};
  if (threadIdx.x == 0) {
    for (uint32_t s = 0; s < Config::kStages; ++s) {
      mbarrier_init(ring.full(s), 1);                          // the producer, and bytes
      mbarrier_init(ring.empty(s), Config::kConsumers * 128);  // each consumer thread
    }
    mbarrier_init_fence();
  }

  // GEMM1 reads offsets of the kernel right before it; by the time GEMM2 starts they are old.
  if (kProjection == Projection::kGateUp) grid_dependency_wait();
  const Schedule schedule(reinterpret_cast<int32_t*>(barriers + 2 * Config::kStages * 8),
                          gemm.offsets, gemm.experts,
                          ceil_div(gemm.layout.row_blocks, Config::kConsumers), Config::kMaxTokens);
  if (kProjection == Projection::kDown) grid_dependency_wait();
  grid_dependency_launch();

  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Config::kProducerRegisters));
    if (threadIdx.x == 0) sm90_produce(gemm, schedule, ring);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Config::kConsumerRegisters));
    RingPosition<Config::kStages> at;
    for (int32_t index = static_cast<int32_t>(blockIdx.x); index < schedule.size();
         index += static_cast<int32_t>(gridDim.x)) {
      const Tile tile = schedule.tile(index);
      sm90_dispatch<kFormat, kProjection>(typename Config::Sizes{}, gemm, tile, ring, at,
                                          warpgroup - 1);
    }
  }
#endif
}

}  // namespace moe4j::cuda
