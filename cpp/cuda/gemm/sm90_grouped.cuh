// Grouped GEMM for Hopper: wgmma with dequantized weights as register A, tokens as B.
//
//   producer (one thread)                   consumer warpgroups (1 or 2 blocks of 64 rows each)
//   ---------------------                   ----------------------------------------------
//   wait empty[s]                           wait full[s]
//   bulk copies: weights of all rows,  -->  load codes, dequantize 32 K into registers
//   a block of tokens for each 64 K    -->  their wgmma in flight while the next 32 K are
//   (both arrive on full[s])                dequantized into the other registers
//                                           arrive on empty[s - 1] once its wgmma are done
//
// Three warpgroups or two with two row blocks share each token that is brought on chip, and share
// the matrix unit: while one stores its part of a tile, the others multiply.
//
// Blocks are persistent. Their producers draw tiles from a counter, since tiles differ in length,
// and run ahead into the next tile; consumers find a tile beside its first stage. The number of
// tokens of a tile is known only on the device: the kernel holds one main loop for each of
// Config::kSizes and picks the smallest that fits, so that an expert with 120 tokens costs 128 and
// not 144. The ring's stages are sized for the largest. The epilogue is common to all sizes: one
// for each would multiply the code, and the compiler runs out of registers for wgmma (C7512).
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
#include "support/limits.hpp"

namespace moe4j::cuda {

template <int kFormat, int kBlocks_, int kConsumers_, int kRowBlocks_, int kStageBlocks_,
          int kStages_, int... kSizes_>
struct Sm90Config {
  // Two blocks a multiprocessor overlap one's epilogue with the other's main loop and give the
  // schedulers more warps to dequantize with; narrow tiles have the registers for it.
  static constexpr int kBlocks = kFormat == MOE4J_FORMAT_BF16 ? 1 : kBlocks_;
  using Sizes = std::integer_sequence<int, kSizes_...>;  // columns of the main loops, ascending

  static constexpr int kMaxTokens = [] {
    int last = 0;
    ((last = kSizes_), ...);
    return last;
  }();
  static constexpr int kConsumers = kConsumers_;    // warpgroups
  static constexpr int kGroupBlocks = kRowBlocks_;  // of 64 rows a warpgroup
  static constexpr int kRowBlocks = kConsumers * kGroupBlocks;
  static constexpr int kThreads = (kConsumers + 1) * 128;
  static constexpr int kRowTile = kRowBlocks * kTileRows;
  // What setmaxnreg hands out after the launch, which gave all threads as many.
  static constexpr int kProducerRegisters = kBlocks == 2 ? 32 : kConsumers == 2 ? 40 : 56;
  static constexpr int kConsumerRegisters = kBlocks == 2 ? 104 : kConsumers == 2 ? 232 : 152;
  static constexpr int kLaunchRegisters = 65536 / (kBlocks * kThreads) / 8 * 8;

  static_assert(((kSizes_ % 16 == 0) && ...), "main loops have a multiple of 16 columns");
  static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <=
                    (kConsumers + 1) * kLaunchRegisters,
                "a block has the registers that it was launched with");

  // BF16 weights are four times as large: the ring gets fewer and shorter stages, at least two.
  static constexpr int kStageBlocks =  // of 64 K a stage
      kFormat == MOE4J_FORMAT_BF16 && kRowBlocks > 2 && kStageBlocks_ > 2 ? 2 : kStageBlocks_;
  static constexpr int kStages = kFormat != MOE4J_FORMAT_BF16 ? kStages_
                                 : kStages_ > 5               ? kStages_ / 2
                                                              : 2;
  static_assert(kStages >= 2, "a stage is released when the next one has landed");

  static constexpr int kTokenBlockBytes = kMaxTokens * kTileK * 2;
  static constexpr int kTokenBytes = kStageBlocks * kTokenBlockBytes;
  static constexpr int weight_bytes(int tile_bytes) {
    return kRowBlocks * kStageBlocks * tile_bytes;
  }
  static constexpr int stage_bytes(int tile_bytes) {
    return kTokenBytes + weight_bytes(tile_bytes);
  }
  /** The schedule's bytes come on top. */
  static constexpr int shared_bytes(int tile_bytes) {
    return kStages * (stage_bytes(tile_bytes) + 2 * 8 + static_cast<int>(sizeof(Tile)));
  }
};

template <int kFormat, class Config>
struct Sm90Ring {
  using Weights = Fragment<kFormat>;
  static constexpr int kWeightBytes = Config::weight_bytes(Weights::kTileBytes);

  uint8_t* base;  // tokens of all stages, aligned to 1024, then weights of all stages
  uint32_t barriers;
  Tile* tiles;  // [kStages] the tile that begins with this stage

  __device__ __forceinline__ uint8_t* tokens(uint32_t stage) const {
    return base + stage * Config::kTokenBytes;
  }
  __device__ __forceinline__ uint8_t* weights(uint32_t stage) const {
    return base + Config::kStages * Config::kTokenBytes + stage * kWeightBytes;
  }
  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return barriers + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const {
    return barriers + (Config::kStages + stage) * 8;
  }
};

/** The producer: one thread, which draws tiles and keeps the copy engine busy. */
template <int kFormat, class Config>
__device__ __forceinline__ void sm90_produce(const GroupedGemm& gemm, const Schedule& schedule,
                                             const Sm90Ring<kFormat, Config>& ring) {
  constexpr int kTileBytes = Fragment<kFormat>::kTileBytes;
  const int64_t row_block_bytes = gemm.layout.row_block_bytes();
  RingPosition<Config::kStages> at;
  int32_t index = static_cast<int32_t>(blockIdx.x);
  for (;;) {
    Tile tile = {-1};
    int32_t next = 0;
    if (index < schedule.size()) {
      tile = schedule.tile(index);
      next = static_cast<int32_t>(gridDim.x) + atomicAdd(gemm.next_tile, 1);
    }
    mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
    ring.tiles[at.stage] = tile;
    if (tile.expert < 0) break;
    const int32_t first_block = tile.row_tile * Config::kRowBlocks;
    const int32_t row_blocks = min(Config::kRowBlocks, gemm.layout.row_blocks - first_block);
    const uint8_t* weights =
        gemm.weights + tile.expert * gemm.layout.expert_bytes() + first_block * row_block_bytes;
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
      const uint8_t* source = weights;
      for (int32_t i = 0; i < row_blocks; ++i) {
        copy_bulk(destination, source, weight_bytes, full);
        destination += Config::kStageBlocks * kTileBytes;
        source += row_block_bytes;
      }
      weights += weight_bytes;
      destination = shared_address(ring.tokens(at.stage));
      for (uint32_t block = 0; block < blocks; ++block) {
        copy_bulk(destination, tokens, token_bytes, full);
        destination += Config::kTokenBlockBytes;
        tokens += gemm.tokens.capacity * 128;
      }
      at.advance();
    }
    index = next;
  }
  mbarrier_arrive(ring.full(at.stage));  // no tile follows
}

/**
 * Main loop of one consumer warpgroup over one tile, kTokens columns wide.
 *
 * A stage is released once the first wgmma_wait<1>() of the next stage has returned: all wgmma of
 * the stage have read its tokens then, and each thread has read its codes long before. Every thread
 * arrives for its own reads. One lane could for its warp, after __syncwarp(), but racecheck follows
 * no order through another thread's arrival and would report every stage; it is no faster.
 *
 * `d` has Config::kMaxTokens / 2 accumulators for each row block; the first kTokens / 2 are used.
 */
template <int kTokens, int kFormat, class Config>
__device__ __forceinline__ void sm90_multiply(const Sm90Ring<kFormat, Config>& ring,
                                              RingPosition<Config::kStages>& at, int32_t k_blocks,
                                              int warpgroup, float* d) {
  using Weights = Fragment<kFormat>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int strip = static_cast<int>(threadIdx.x) / 32 % 4;
  constexpr int kRows = Config::kGroupBlocks;
  constexpr int kHeld = Config::kMaxTokens / 2;  // accumulators a row block
  uint32_t a[2][kRows][2][4] = {};               // two buffers of k32
  uint32_t previous = 0;                         // stage whose wgmma may still be in flight

  typename Weights::Packed packed[kRows];
  const auto load_codes = [&](uint32_t stage, int32_t block) {
    const uint8_t* tile = ring.weights(stage) +
                          (warpgroup * kRows * Config::kStageBlocks + block) * Weights::kTileBytes;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      packed[r] =
          Weights::load_shared(tile + r * Config::kStageBlocks * Weights::kTileBytes, strip, lane);
    }
  };
  // 32 K of each row block, from codes to wgmma in flight. Row blocks share the tokens: a warpgroup
  // with two has twice the work between two waits.
  const auto multiply = [&](auto half, uint32_t tokens) {
    constexpr int kHalf = decltype(half)::value;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      Weights::template unpack<2 * kHalf>(packed[r], a[kHalf][r][0]);
      Weights::template unpack<2 * kHalf + 1>(packed[r], a[kHalf][r][1]);
    }
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const uint64_t b = wgmma_descriptor(tokens + (2 * kHalf + k) * 32);
#pragma unroll
      for (int r = 0; r < kRows; ++r) wgmma_m64k16<kTokens>(d + r * kHeld, a[kHalf][r][k], b);
    }
    wgmma_commit();
  };
  // Until all wgmma but those of the other half are done.
  const auto wait_for = [&](auto half) {
    constexpr int kHalf = decltype(half)::value;
    // FP4 codes pass through other registers, BF16 weights are loaded into the operand's own.
    wgmma_wait<kFormat == MOE4J_FORMAT_BF16 && kHalf == 0 ? 0 : 1>();
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      wgmma_pin_operand(a[kHalf][r][0]);
      wgmma_pin_operand(a[kHalf][r][1]);
    }
  };
  constexpr std::integral_constant<int, 0> kFirst;
  constexpr std::integral_constant<int, 1> kSecond;

  bool releases = false;
  const int32_t whole_stages = k_blocks / Config::kStageBlocks;
#pragma unroll 1
  for (int32_t i = 0; i < whole_stages; ++i) {
    mbarrier_wait(ring.full(at.stage), at.parity);
    const uint32_t tokens = shared_address(ring.tokens(at.stage));
#pragma unroll
    for (int block = 0; block < Config::kStageBlocks; ++block) {
      load_codes(at.stage, block);
      multiply(kFirst, tokens + block * Config::kTokenBlockBytes);
      wait_for(kSecond);
      mbarrier_arrive_if(ring.empty(previous), releases && block == 0);
      multiply(kSecond, tokens + block * Config::kTokenBlockBytes);
      wait_for(kFirst);
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
      for (int32_t block = 0; block < rest; ++block) {
        const uint32_t tokens = shared_address(ring.tokens(at.stage)) +
                                static_cast<uint32_t>(block) * Config::kTokenBlockBytes;
        load_codes(at.stage, block);
        multiply(kFirst, tokens);
        wait_for(kSecond);
        multiply(kSecond, tokens);
        wait_for(kFirst);
      }
      wgmma_wait<0>();
      mbarrier_arrive(ring.empty(at.stage));
      at.advance();
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) wgmma_pin<kTokens / 2>(d + r * kHeld);
}

/** What a warpgroup does whose rows of weights do not exist. */
template <int kFormat, class Config>
__device__ __forceinline__ void sm90_skip(const Sm90Ring<kFormat, Config>& ring,
                                          RingPosition<Config::kStages>& at, int32_t k_blocks) {
  for (int32_t k_block = 0; k_block < k_blocks; k_block += Config::kStageBlocks) {
    mbarrier_wait(ring.full(at.stage), at.parity);
    mbarrier_arrive(ring.empty(at.stage));
    at.advance();
  }
}

/** Runs the main loop of the first size that holds the tile. */
template <int kFormat, class Config, int kFirst, int... kRest>
__device__ __forceinline__ void sm90_dispatch(std::integer_sequence<int, kFirst, kRest...>,
                                              int32_t row_count,
                                              const Sm90Ring<kFormat, Config>& ring,
                                              RingPosition<Config::kStages>& at, int32_t k_blocks,
                                              int warpgroup, float* d) {
  if constexpr (sizeof...(kRest) == 0) {
    sm90_multiply<kFirst>(ring, at, k_blocks, warpgroup, d);
  } else if (row_count <= kFirst) {
    sm90_multiply<kFirst>(ring, at, k_blocks, warpgroup, d);
  } else {
    sm90_dispatch(std::integer_sequence<int, kRest...>{}, row_count, ring, at, k_blocks, warpgroup,
                  d);
  }
}

template <int kFormat, Projection kProjection, class Config>
__device__ __forceinline__ void sm90_consume_tile(const GroupedGemm& gemm, const Tile& tile,
                                                  const Sm90Ring<kFormat, Config>& ring,
                                                  RingPosition<Config::kStages>& at,
                                                  int warpgroup) {
  constexpr int kHeld = Config::kMaxTokens / 2;
  float d[Config::kGroupBlocks * kHeld] = {};
  sm90_dispatch(typename Config::Sizes{}, tile.row_count, ring, at, gemm.layout.k_blocks, warpgroup,
                d);
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < Config::kGroupBlocks; ++r) {
    const int32_t row_block =
        tile.row_tile * Config::kRowBlocks + warpgroup * Config::kGroupBlocks + r;
    const int32_t strip =
        row_block * kStripsPerTile + static_cast<int>(threadIdx.x) / 32 % kStripsPerTile;
    StripEpilogue<kProjection> epilogue(gemm.epilogue, tile, strip, lane);
    store_columns<Config::kMaxTokens / 8>(gemm.epilogue, epilogue, tile.row_count, d + r * kHeld);
  }
}

template <int kFormat, Projection kProjection, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    sm90_grouped_gemm(const __grid_constant__ GroupedGemm gemm) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Ring = Sm90Ring<kFormat, Config>;
  static_assert(Config::shared_bytes(Ring::Weights::kTileBytes) +
                        schedule_bytes(kMaxExperts + kMaxTopK) + kScanBytes <=
                    227 * 1024,
                "a block has 227 KB of shared memory");
  extern __shared__ __align__(1024) uint8_t shared[];
  uint8_t* const barriers =
      shared + Config::kStages * Config::stage_bytes(Ring::Weights::kTileBytes);
  Tile* const tiles = reinterpret_cast<Tile*>(barriers + 2 * Config::kStages * 8);
  const Ring ring{shared, shared_address(barriers), tiles};
  if (threadIdx.x == 0) {
    for (uint32_t s = 0; s < Config::kStages; ++s) {
      mbarrier_init(ring.full(s), 1);                          // the producer, and bytes
      mbarrier_init(ring.empty(s), Config::kConsumers * 128);  // each consumer thread
    }
    mbarrier_init_fence();
  }

  // GEMM1 may follow close on the kernels that made the offsets; when GEMM2 starts they are old.
  if (kProjection == Projection::kGateUp) grid_dependency_wait();
  const Schedule schedule(reinterpret_cast<int32_t*>(tiles + Config::kStages), gemm.offsets,
                          gemm.experts, ceil_div(gemm.layout.row_blocks, Config::kRowBlocks),
                          Config::kMaxTokens);
  if (kProjection == Projection::kDown) grid_dependency_wait();
  grid_dependency_launch();

  const int warpgroup = static_cast<int>(threadIdx.x) / 128 - 1;
  if (warpgroup < 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Config::kProducerRegisters));
    if (threadIdx.x == 0) sm90_produce(gemm, schedule, ring);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Config::kConsumerRegisters));
    RingPosition<Config::kStages> at;
    for (;;) {
      mbarrier_wait(ring.full(at.stage), at.parity);
      const Tile tile = ring.tiles[at.stage];
      if (tile.expert < 0) break;
      const int32_t row_block =
          tile.row_tile * Config::kRowBlocks + warpgroup * Config::kGroupBlocks;
      if (row_block < gemm.layout.row_blocks) {
        sm90_consume_tile<kFormat, kProjection>(gemm, tile, ring, at, warpgroup);
      } else {
        sm90_skip(ring, at, gemm.layout.k_blocks);
      }
    }
  }
#endif
}

}  // namespace moe4j::cuda
