// Grouped GEMM for Hopper: wgmma with dequantized weights as register A, tokens as B.
//
//   clerk (one thread)         producer (one thread)         consumer warpgroups (64 rows each)
//   ------------------         ---------------------         ----------------------------------
//   draw a tile, look it up,   take the tile
//   leave it             -->   for each of its stages:
//   wait until asked    <--      ask, kStages from its end
//                                wait empty[s]               dequantize half a block into
//                                bulk copies: weights of     registers, its two wgmma in flight
//                                all rows, blocks of 128     while the next half is dequantized
//                                bytes of K of all tokens    into the other registers and the
//                                (all arrive on full[s]) --> next codes are on their way from
//                                                            full[s + 1]; arrive on empty[s - 1]
//                                                            once its wgmma are done
//
// BF16 tokens with weights of any format, or E4M3 tokens with MXFP4 weights looked up as E4M3: the
// difference is in sm90_operand.cuh. The matrix unit adds E4M3 products with fewer bits than F32
// has: 5.8e-4 relative L2 over 2880 K (measured), which no promotion to other registers need
// improve.
//
// Three warpgroups share each token that is brought on chip, and share the matrix unit: while one
// stores its part of a tile, the others multiply.
//
// Blocks are persistent. Their clerks draw tiles from a counter, since tiles differ in length: an
// atomic and a search, while the producer copies. They draw late: a tile that waits for its block
// is one that an idle block could have had. The producer runs ahead into the next tile; consumers
// find what the tile is beside the ring. The number of tokens of a tile is known only on the
// device: the kernel holds one main loop for each of Config::Sizes and picks the smallest that
// fits, so that an expert with 125 tokens costs 128 and not 160. The ring's stages are sized for
// the largest. The epilogue is common to all sizes: one for each would multiply the code, and the
// compiler runs out of registers for wgmma (C7512).
//
// Tokens lie in memory as wgmma wants them in shared memory (TiledRows), so that nothing but the
// copy engine ever writes there: no fence between proxies, which would stall consumers every stage.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "cuda/gemm/epilogue.cuh"
#include "cuda/gemm/instances.hpp"
#include "cuda/gemm/schedule.cuh"
#include "cuda/gemm/sm90_operand.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mbarrier.cuh"
#include "cuda/ptx/ring_barriers.cuh"
#include "cuda/ptx/ring_position.cuh"
#include "cuda/ptx/uniform.cuh"
#include "cuda/ptx/wgmma.cuh"
#include "support/limits.hpp"

namespace moe4j::cuda {

/** What consumers are told about a tile; all but `tile` is copied with the tile's first stage. */
template <int kTokenScales>
struct WorkItem {
  ExpertScalars scalars;
  Tile tile;                                     // expert -1: there is none
  alignas(16) float token_scales[kTokenScales];  // E4M3 tokens
};

template <>
struct WorkItem<0> {
  ExpertScalars scalars;
  Tile tile;
};

/** Where the clerk leaves the tile that the producer begins next. */
struct DrawnTile {
  uint64_t barriers[2];
  Tile tile;  // expert -1: there is none

  /** full: the clerk has left a tile; empty: the producer asks for the next one. */
  __device__ __forceinline__ RingBarriers<1> ring() const { return {shared_address(barriers)}; }
};
static_assert(sizeof(DrawnTile::barriers) == RingBarriers<1>::kBytes);

template <class Operand_, int kBlocks_, int kConsumers_, int kStageTiles_, int kStages_,
          int... kSizes_>
struct Sm90Config {
  using Operand = Operand_;
  using Weights = typename Operand::Weights;
  static constexpr bool kBf16Weights = Operand::kFormat == MOE4J_FORMAT_BF16;

  // Two blocks a multiprocessor overlap one's epilogue with the other's main loop and give the
  // schedulers more warps to dequantize with; narrow tiles have the registers for it.
  static constexpr int kBlocks = kBf16Weights ? 1 : kBlocks_;
  using Sizes = std::integer_sequence<int, kSizes_...>;  // columns of the main loops, ascending

  static constexpr int kMaxTokens = token_tile({kSizes_...});
  // Most experts have one tile of tokens, then: nobody reads weights again, and tokens, h and the
  // output stay in the L2 cache.
  static constexpr bool kWeightsOnce = kMaxTokens <= 80;
  static constexpr int kConsumers = kConsumers_;  // warpgroups, of 64 rows each
  static constexpr int kThreads = (kConsumers + 1) * 128;
  // A block is launched with as many registers for all threads; setmaxnreg then gives the producer
  // about 32 and consumers all others, in eights.
  static constexpr int kLaunchRegisters = 65536 / (kBlocks * kThreads) / 8 * 8;
  static constexpr int kWarpgroupRegisters = (kConsumers + 1) * kLaunchRegisters;  // of all
  static constexpr int kConsumerRegisters = (kWarpgroupRegisters - 32) / kConsumers / 8 * 8;
  static constexpr int kProducerRegisters = kWarpgroupRegisters - kConsumers * kConsumerRegisters;

  static_assert(((kSizes_ % 8 == 0) && ...), "main loops have a multiple of 8 columns");

  // BF16 weights are four times as large: the ring gets fewer and shorter stages, at least two.
  static constexpr int kStageTiles =  // of 64 K a stage
      kBf16Weights && kConsumers > 2 && kStageTiles_ > 2 ? 2 : kStageTiles_;
  static constexpr int kStages = !kBf16Weights ? kStages_ : kStages_ > 5 ? kStages_ / 2 : 2;
  static_assert(kStages >= 2, "a stage is released when the next one has landed");

  // One more than the producer can be ahead, even with a tile a stage: what consumers have yet to
  // read of a tile stays.
  static constexpr int kWorkItems = kStages + 1;
  using Work = WorkItem<Operand::kScaledTokens ? kMaxTokens : 0>;

  static constexpr int kTokenBlockTiles = 2 / Operand::kHalves;  // weight tiles along its K
  static constexpr int kTokenBlockBytes = kMaxTokens * 128;
  static constexpr int kTokenBytes = kStageTiles / kTokenBlockTiles * kTokenBlockBytes;
  static_assert(kStageTiles % kTokenBlockTiles == 0, "a stage has whole blocks of tokens");
  static constexpr int kWeightBytes = kConsumers * kStageTiles * Weights::kTileBytes;
  static constexpr int kStageBytes = kTokenBytes + kWeightBytes;
  /** The schedule's bytes come on top. */
  static constexpr int kSharedBytes = kStages * kStageBytes + RingBarriers<kStages>::kBytes +
                                      kWorkItems * static_cast<int>(sizeof(Work)) +
                                      static_cast<int>(sizeof(DrawnTile));
};

template <class Config>
struct Sm90Ring : RingBarriers<Config::kStages> {
  uint8_t* data;  // tokens of all stages, aligned to 1024, then weights of all stages
  typename Config::Work* items;  // [Config::kWorkItems], aligned to 16; one tile after another

  __device__ __forceinline__ uint8_t* tokens(uint32_t stage) const {
    return data + stage * Config::kTokenBytes;
  }
  __device__ __forceinline__ uint8_t* weights(uint32_t stage) const {
    return data + Config::kStages * Config::kTokenBytes + stage * Config::kWeightBytes;
  }
};

/** The clerk: one thread, which draws tiles and leaves them to the producer. */
__device__ __forceinline__ void sm90_draw(const GroupedGemm& gemm, const Schedule& schedule,
                                          DrawnTile& drawn) {
  RingPosition<1> at;
  for (auto index = static_cast<int32_t>(blockIdx.x);; at.advance()) {
    const bool exists = index < schedule.size();
    drawn.tile = exists ? schedule.tile(index) : Tile{-1};
    mbarrier_arrive(drawn.ring().full(0));
    if (!exists) return;
    mbarrier_wait(drawn.ring().empty(0), at.parity);
    index = static_cast<int32_t>(gridDim.x) + atomicAdd(gemm.next_tile, 1);
  }
}

/** The producer: one thread, which keeps the copy engine busy. */
template <class Config>
__device__ __forceinline__ void sm90_produce(const GroupedGemm& gemm, DrawnTile& drawn,
                                             const Sm90Ring<Config>& ring) {
  constexpr int kTileBytes = Config::Weights::kTileBytes;
  const int64_t row_block_bytes = gemm.layout.row_block_bytes();
  RingPosition<Config::kStages> at;
  RingPosition<Config::kWorkItems> item;
  RingPosition<1> next;
  for (;; item.advance(), next.advance()) {
    mbarrier_wait(drawn.ring().full(0), next.parity);
    const Tile tile = drawn.tile;
    mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
    typename Config::Work& work = ring.items[item.stage];
    work.tile = tile;
    if (tile.expert < 0) break;
    const auto copy_beside = [&](void* to, const void* from, uint32_t bytes) {
      mbarrier_expect(ring.full(at.stage), bytes);
      copy_bulk(shared_address(to), from, bytes, ring.full(at.stage));
    };
    const auto row_groups = static_cast<uint32_t>(ceil_div(tile.row_count, 8));
    copy_beside(&work.scalars, gemm.epilogue.scalars + tile.expert, sizeof(ExpertScalars));
    if constexpr (Config::Operand::kScaledTokens) {
      copy_beside(work.token_scales, gemm.token_scales + tile.storage_begin,
                  row_groups * 8 * sizeof(float));
    }
    const int32_t first_block = tile.row_tile * Config::kConsumers;
    const int32_t row_blocks = min(Config::kConsumers, gemm.layout.row_blocks - first_block);
    const uint8_t* weights =
        gemm.weights + tile.expert * gemm.layout.expert_bytes() + first_block * row_block_bytes;
    const uint8_t* tokens = gemm.tokens.data + static_cast<int64_t>(tile.storage_begin) * 128;
    const uint32_t token_bytes = row_groups * 1024;
    bool asked = false;  // for the next tile
    for (int32_t left = gemm.layout.k_blocks; left > 0; left -= Config::kStageTiles) {
      if (!asked && left <= Config::kStages * Config::kStageTiles) {
        mbarrier_arrive(drawn.ring().empty(0));
        asked = true;
      }
      const auto tiles = static_cast<uint32_t>(min(Config::kStageTiles, left));
      const uint32_t token_blocks =
          (tiles + Config::kTokenBlockTiles - 1) / Config::kTokenBlockTiles;
      const uint32_t weight_bytes = tiles * kTileBytes;
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      mbarrier_arrive_expect(
          full, static_cast<uint32_t>(row_blocks) * weight_bytes + token_blocks * token_bytes);
      uint32_t destination = shared_address(ring.weights(at.stage));
      const uint8_t* source = weights;
      for (int32_t i = 0; i < row_blocks; ++i) {
        if constexpr (Config::kWeightsOnce) {
          copy_bulk_once(destination, source, weight_bytes, full);
        } else {
          copy_bulk(destination, source, weight_bytes, full);
        }
        destination += Config::kStageTiles * kTileBytes;
        source += row_block_bytes;
      }
      weights += weight_bytes;
      destination = shared_address(ring.tokens(at.stage));
      for (uint32_t block = 0; block < token_blocks; ++block) {
        copy_bulk(destination, tokens, token_bytes, full);
        destination += Config::kTokenBlockBytes;
        tokens += gemm.tokens.capacity * 128;
      }
      at.advance();
    }
  }
  mbarrier_arrive(ring.full(at.stage));  // no tile follows
}

/** Where a consumer thread finds its operands in stage 0, as shared addresses. */
template <class Config>
struct Sm90Addresses {
  uint32_t codes;
  uint32_t scales;
  uint32_t tokens;  // the same for all

  __device__ __forceinline__ Sm90Addresses(const Sm90Ring<Config>& ring, int warpgroup)
      : tokens(shared_address(ring.tokens(0))) {
    using Weights = typename Config::Weights;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int strip = static_cast<int>(threadIdx.x) / 32 % kStripsPerTile;
    const uint32_t first =
        shared_address(ring.weights(0)) + warpgroup * Config::kStageTiles * Weights::kTileBytes;
    // Through a shuffle to oneself, or the compiler saves two registers and derives them from the
    // thread's number again in every stage, in front of everything else.
    codes = __shfl_sync(0xFFFFFFFFu, first + Weights::codes_offset(strip, lane), lane);
    scales = __shfl_sync(0xFFFFFFFFu, first + Weights::scales_offset(strip, lane), lane);
  }
};

/**
 * Main loop of one consumer warpgroup over one tile, kTokens columns wide. Its first stage has
 * landed; the next one, be it another tile's, is awaited while the last wgmma are in flight.
 *
 * A stage is released once the first wgmma_wait<1>() of the next stage has returned: all wgmma of
 * the stage have read its tokens then, and each thread has read its codes long before. Every thread
 * arrives for its own reads. One lane could for its warp, after __syncwarp(), but racecheck follows
 * no order through another thread's arrival and would report every stage; it is no faster.
 *
 * `d` has Config::kMaxTokens / 2 accumulators; the first kTokens / 2 are used.
 */
template <int kTokens, class Config>
__device__ __forceinline__ void sm90_multiply(const Sm90Ring<Config>& ring,
                                              const Sm90Addresses<Config>& addresses,
                                              RingPosition<Config::kStages>& at, int32_t k_blocks,
                                              float* d) {
  using Operand = typename Config::Operand;
  using Weights = typename Config::Weights;
  uint32_t a[2][2][4] = {};  // A of two halves
  uint32_t previous = 0;     // stage whose wgmma may still be in flight
  const uint32_t scale_mask = Operand::scale_mask();

  typename Operand::Packed packed;
  const auto load_codes = [&](uint32_t stage, int32_t tile) {
    const uint32_t offset = stage * Config::kWeightBytes + tile * Weights::kTileBytes;
    packed = Weights::load_shared(addresses.codes + offset, addresses.scales + offset);
  };
  const auto multiply = [&](const uint32_t(&half)[2][4], uint64_t tokens) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      Operand::template multiply<kTokens>(d, half[k], tokens + wgmma_offset(k * 32));
    }
    wgmma_commit();
  };
  const auto pin = [](uint32_t(&half)[2][4]) {
    wgmma_pin_operand(half[0]);
    wgmma_pin_operand(half[1]);
  };

  bool releases = false;
  const int32_t whole_stages = k_blocks / Config::kStageTiles;
  load_codes(at.stage, 0);
#pragma unroll 1
  for (int32_t i = 0; i < whole_stages; ++i) {
    const uint32_t stage = at.stage;
    const uint64_t tokens = wgmma_descriptor(addresses.tokens + stage * Config::kTokenBytes);
    at.advance();
#pragma unroll
    for (int tile = 0; tile < Config::kStageTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < Operand::kHalves; ++half) {
        const int h = tile * Operand::kHalves + half;
        const bool last = half + 1 == Operand::kHalves;
        const auto load_next = [&] {
          if (tile + 1 < Config::kStageTiles) {
            load_codes(stage, tile + 1);
          } else {
            mbarrier_wait(ring.full(at.stage), at.parity);
            load_codes(at.stage, 0);
          }
        };
        if (half == 0) {
          Operand::template unpack<0>(packed, a[h % 2], scale_mask);
        } else {
          Operand::template unpack<Operand::kHalves - 1>(packed, a[h % 2], scale_mask);
        }
        multiply(a[h % 2], tokens + wgmma_offset(h / 2 * Config::kTokenBlockBytes + h % 2 * 64));
        if (last && !Config::kBf16Weights) load_next();
        // Until the half before is done. FP4 codes pass through other registers, BF16 weights are
        // loaded into the operand's own.
        if (last && Config::kBf16Weights) {
          wgmma_wait<0>();
        } else {
          wgmma_wait<1>();
        }
        pin(a[(h + 1) % 2]);
        if (last && Config::kBf16Weights) {
          pin(a[h % 2]);
          load_next();
        }
        mbarrier_arrive_if(ring.empty(previous), releases && h == 0);
      }
    }
    releases = true;
    previous = stage;
  }
  wgmma_wait<0>();
  mbarrier_arrive_if(ring.empty(previous), releases);
  if constexpr (Config::kStageTiles > 1) {
    const int32_t rest = k_blocks % Config::kStageTiles;
    if (rest != 0) {
      uint64_t tokens = wgmma_descriptor(addresses.tokens + at.stage * Config::kTokenBytes);
#pragma unroll 1
      for (int32_t tile = 0; tile < rest; ++tile) {
        if (tile > 0) load_codes(at.stage, tile);
        Operand::template unpack<0>(packed, a[0], scale_mask);
        multiply(a[0], tokens);
        if constexpr (Operand::kHalves == 2) {
          Operand::template unpack<1>(packed, a[1], scale_mask);
          multiply(a[1], tokens + wgmma_offset(64));
          tokens += wgmma_offset(Config::kTokenBlockBytes);
        } else {
          tokens += wgmma_offset(tile % 2 == 0 ? 64 : Config::kTokenBlockBytes - 64);
        }
        wgmma_wait<0>();
        pin(a[0]);
        pin(a[1]);
      }
      mbarrier_arrive(ring.empty(at.stage));
      at.advance();
    }
  }
  wgmma_pin<kTokens / 2>(d);
}

/** What a warpgroup does whose rows of weights do not exist. */
template <class Config>
__device__ __forceinline__ void sm90_skip(const Sm90Ring<Config>& ring,
                                          RingPosition<Config::kStages>& at, int32_t k_blocks) {
  for (int32_t k_block = 0; k_block < k_blocks; k_block += Config::kStageTiles) {
    mbarrier_wait(ring.full(at.stage), at.parity);
    mbarrier_arrive(ring.empty(at.stage));
    at.advance();
  }
}

/** Runs the main loop of the first size that holds the tile. */
template <class Config, int kFirst, int... kRest>
__device__ __forceinline__ void sm90_dispatch(std::integer_sequence<int, kFirst, kRest...>,
                                              int32_t row_count, const Sm90Ring<Config>& ring,
                                              const Sm90Addresses<Config>& addresses,
                                              RingPosition<Config::kStages>& at, int32_t k_blocks,
                                              float* d) {
  if constexpr (sizeof...(kRest) == 0) {
    sm90_multiply<kFirst>(ring, addresses, at, k_blocks, d);
  } else if (row_count <= kFirst) {
    sm90_multiply<kFirst>(ring, addresses, at, k_blocks, d);
  } else {
    sm90_dispatch(std::integer_sequence<int, kRest...>{}, row_count, ring, addresses, at, k_blocks,
                  d);
  }
}

template <Projection kProjection, class Config>
__device__ __forceinline__ void sm90_consume_tile(
    const GroupedGemm& gemm, const typename Config::Work& work, const Sm90Ring<Config>& ring,
    const Sm90Addresses<Config>& addresses, RingPosition<Config::kStages>& at, int32_t row_block) {
  const auto lane = [] { return static_cast<int>(threadIdx.x) % 32; };
  const auto strip = [&] {
    return row_block * kStripsPerTile + static_cast<int>(threadIdx.x) / 32 % kStripsPerTile;
  };
  const StripRows<kProjection> rows(gemm.epilogue, work.scalars, work.tile.expert, strip(), lane());
  float d[Config::kMaxTokens / 2] = {};
  sm90_dispatch(typename Config::Sizes{}, uniform(work.tile.row_count), ring, addresses, at,
                gemm.layout.k_blocks, d);
  if constexpr (Config::Operand::kScaledTokens) {
    const auto* scales = reinterpret_cast<const float2*>(work.token_scales) + lane() % 4;
#pragma unroll
    for (int n = 0; n < Config::kMaxTokens / 8; ++n) {  // what lies beyond the tile is not stored
      const float2 scale = scales[n * 4];
      d[n * 4] *= scale.x;
      d[n * 4 + 1] *= scale.y;
      d[n * 4 + 2] *= scale.x;
      d[n * 4 + 3] *= scale.y;
    }
  }
  StripEpilogue<kProjection> epilogue(gemm.epilogue, work.scalars, rows, work.tile, strip(),
                                      lane());
  store_columns<Config::kMaxTokens / 8>(gemm.epilogue, epilogue, uniform(work.tile.row_count), d);
}

template <Projection kProjection, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    sm90_grouped_gemm(const __grid_constant__ GroupedGemm gemm) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  static_assert(
      Config::kSharedBytes + schedule_bytes(kMaxExperts + kMaxTopK) + kScanBytes <= 227 * 1024,
      "a block has 227 KB of shared memory");
  extern __shared__ __align__(1024) uint8_t shared[];
  using Ring = Sm90Ring<Config>;
  uint8_t* const barriers = shared + Config::kStages * Config::kStageBytes;
  auto* const items = reinterpret_cast<typename Config::Work*>(barriers + Ring::kBytes);
  const Ring ring{{shared_address(barriers)}, shared, items};
  auto& drawn = *reinterpret_cast<DrawnTile*>(items + Config::kWorkItems);
  if (threadIdx.x == 0) {
    ring.initialize(1, Config::kConsumers * 128);  // the producer, and bytes; each consumer thread
    drawn.ring().initialize(1, 1);                 // the clerk; the producer
  }

  // The offsets are older than the kernel before this one. A kernel that does other tiles of the
  // same GEMM needs nothing of the one before, which has waited for all others: its blocks start
  // where that one's have left.
  const Schedule schedule(reinterpret_cast<int32_t*>(&drawn + 1), gemm.offsets, gemm.experts,
                          ceil_div(gemm.layout.row_blocks, Config::kConsumers), gemm.tiles);
  if (!gemm.alongside) grid_dependency_wait();
  grid_dependency_launch();

  const int warpgroup = uniform(static_cast<int>(threadIdx.x) / 128) - 1;
  if (warpgroup < 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Config::kProducerRegisters));
    // If the compiler took warps for divided, it would spill what another one needs.
    const int warp = uniform(static_cast<int>(threadIdx.x) / 32);
    if (threadIdx.x % 32 != 0) return;
    if (warp == 0) {
      sm90_produce(gemm, drawn, ring);
      if (gemm.alongside) grid_dependency_wait();  // whoever waits for this kernel waits for both
    } else if (warp == 1) {
      sm90_draw(gemm, schedule, drawn);
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Config::kConsumerRegisters));
    const Sm90Addresses<Config> addresses(ring, warpgroup);
    RingPosition<Config::kStages> at;
    RingPosition<Config::kWorkItems> item;
    for (;; item.advance()) {
      mbarrier_wait(ring.full(at.stage), at.parity);
      const typename Config::Work& work = ring.items[item.stage];
      // What follows from these is then computed once a warp: addresses, descriptors, barriers.
      if (uniform(work.tile.expert) < 0) break;
      const int32_t row_block = uniform(work.tile.row_tile) * Config::kConsumers + warpgroup;
      if (row_block < gemm.layout.row_blocks) {
        sm90_consume_tile<kProjection>(gemm, work, ring, addresses, at, row_block);
      } else {
        sm90_skip(ring, at, gemm.layout.k_blocks);
      }
    }
  }
#endif
}

template <Projection kProjection, class Config>
GroupedInstance sm90_instance() {
  return {sm90_grouped_gemm<kProjection, Config>, Config::kThreads, Config::kSharedBytes};
}

}  // namespace moe4j::cuda
