// Grouped GEMM for few tokens on Hopper: mma.sync, everything through a ring of bulk copies.
//
//   weights warp      tokens warp          consumer warps (a strip of 16 rows each)
//   ------------      -----------          -----------------------------------------------
//   wait empty[s]     wait empty[s]        wait full[s]
//   copy weights  ->  copy tokens  ->      load codes, dequantize, ldmatrix, mma.sync
//   (both arrive on full[s])               arrive on empty[s]
//
// Every block sorts the routing out for itself (token_table.cuh), so that no kernel comes before
// GEMM1, and GEMM1 gathers tokens straight from the caller's rows. In GEMM2 only the tokens warp
// waits for the previous kernel, weights fill the ring while that one still runs; in GEMM1 all
// wait, since the previous kernel may have made the routing.
//
// Reading is the bottleneck and mma.sync has the fewest instructions around it for up to 32
// columns: no fences, no descriptors, and warps that drift apart, so that one's epilogue overlaps
// with another's main loop.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/dequant/fragment.cuh"
#include "cuda/gemm/epilogue.cuh"
#include "cuda/gemm/schedule.cuh"
#include "cuda/gemm/token_table.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mbarrier.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/ptx/ring_position.cuh"

namespace moe4j::cuda {

template <int kTokens_, int kRowBlocks_, int kStageBlocks_, int kStages_, int kBlocks_>
struct NarrowConfig {
  static constexpr int kTokens = kTokens_;            // columns of a tile
  static constexpr int kRowBlocks = kRowBlocks_;      // of 64 rows a tile
  static constexpr int kStageBlocks = kStageBlocks_;  // of 64 K a stage
  static constexpr int kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;  // a multiprocessor

  static constexpr int kConsumers = kRowBlocks * kStripsPerTile;  // warps
  static constexpr int kThreads = (kConsumers + 2) * 32;
  static constexpr int kStageK = kStageBlocks * kTileK;

  static_assert(kTokens % 8 == 0 && kTokens <= 32, "a lane of the tokens warp copies one row");

  static constexpr int weight_bytes(int tile_bytes) {
    return kRowBlocks * kStageBlocks * tile_bytes;
  }
};

/**
 * How a stage's tokens lie in shared memory. GEMM1: whole rows of the stage's K, 16 bytes apart
 * from a multiple of 128, so that the eight rows of an ldmatrix hit different banks. GEMM2: blocks
 * of TiledRows as they are.
 */
template <Projection kProjection, class Config>
struct NarrowTokens {
  static constexpr bool kGathered = kProjection == Projection::kGateUp;
  static constexpr int kRowBytes = kGathered ? Config::kStageK * 2 + 16 : 128;
  static constexpr int kBlockBytes = kGathered ? 128 : Config::kTokens * 128;
  static constexpr int kBytes = Config::kTokens * (Config::kStageK * 2 + (kGathered ? 16 : 0));

  /** Of this lane's row of ldmatrix in columns 0..7, for one half of a block's 64 K. */
  static __device__ __forceinline__ uint32_t offset(int lane, int half) {
    const int row = lane & 7;
    const int chunk = half * 4 + (lane >> 3);
    return static_cast<uint32_t>(row * kRowBytes + (kGathered ? chunk : chunk ^ row) * 16);
  }
};

template <int kFormat, Projection kProjection, class Config>
struct NarrowRing {
  using Tokens = NarrowTokens<kProjection, Config>;
  static constexpr int kWeightBytes = Config::weight_bytes(Fragment<kFormat>::kTileBytes);
  static constexpr int kStageBytes = (kWeightBytes + Tokens::kBytes + 127) / 128 * 128;
  static constexpr int kBytes = Config::kStages * kStageBytes;
  static constexpr int kBarrierBytes = 2 * Config::kStages * 8;
  static constexpr int kTileBytes = Config::kStages * static_cast<int>(sizeof(Tile));
  /** The table's and the schedule's bytes come on top. */
  static constexpr int kSharedBytes = kBytes + kBarrierBytes + kTileBytes;
  static_assert(kSharedBytes + narrow_table_bytes(kNarrowExperts) + kScanBytes <= 227 * 1024,
                "a block has 227 KB of shared memory");

  uint8_t* base;
  uint32_t barriers;
  Tile* tiles;  // of each stage that is a tile's first

  __device__ __forceinline__ uint8_t* weights(uint32_t stage) const {
    return base + stage * kStageBytes;
  }
  __device__ __forceinline__ uint8_t* tokens(uint32_t stage) const {
    return weights(stage) + kWeightBytes;
  }
  __device__ __forceinline__ uint32_t full(uint32_t stage) const { return barriers + stage * 8; }
  __device__ __forceinline__ uint32_t empty(uint32_t stage) const {
    return barriers + (Config::kStages + stage) * 8;
  }
};

/** Calls use(tile) for each tile of this block; consumers get them with their first stage. */
template <class Use>
__device__ __forceinline__ void for_each_tile(const Schedule& schedule, Use&& use) {
  for (int32_t index = static_cast<int32_t>(blockIdx.x); index < schedule.size();
       index += static_cast<int32_t>(gridDim.x)) {
    use(schedule.tile(index));
  }
}

/** One thread: weights of all row blocks of a tile, in stages. */
template <int kFormat, Projection kProjection, class Config>
__device__ __forceinline__ void narrow_copy_weights(
    const GroupedGemm& gemm, const Schedule& schedule,
    const NarrowRing<kFormat, kProjection, Config>& ring) {
  constexpr int kTileBytes = Fragment<kFormat>::kTileBytes;
  const int64_t row_block_bytes = gemm.layout.row_block_bytes();
  RingPosition<Config::kStages> at;
  for_each_tile(schedule, [&](const Tile& tile) {
    const int32_t row_blocks =
        min(Config::kRowBlocks, gemm.layout.row_blocks - tile.row_tile * Config::kRowBlocks);
    const uint8_t* source = gemm.weights + tile.expert * gemm.layout.expert_bytes() +
                            tile.row_tile * Config::kRowBlocks * row_block_bytes;
    for (int32_t k_block = 0; k_block < gemm.layout.k_blocks; k_block += Config::kStageBlocks) {
      const uint32_t bytes =
          static_cast<uint32_t>(min(Config::kStageBlocks, gemm.layout.k_blocks - k_block)) *
          kTileBytes;
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      mbarrier_arrive_expect(full, static_cast<uint32_t>(row_blocks) * bytes);
      const uint32_t destination = shared_address(ring.weights(at.stage));
#pragma unroll
      for (int r = 0; r < Config::kRowBlocks; ++r) {
        if (r < row_blocks) {
          copy_bulk(destination + r * Config::kStageBlocks * kTileBytes,
                    source + r * row_block_bytes, bytes, full);
        }
      }
      source += bytes;
      at.advance();
    }
  });
}

/** One warp: a tile's tokens. */
template <int kFormat, Projection kProjection, class Config>
__device__ __forceinline__ void narrow_copy_tokens(
    const NarrowGemm& args, const Schedule& schedule, const TokenTable& table, int lane,
    const NarrowRing<kFormat, kProjection, Config>& ring) {
  using Tokens = NarrowTokens<kProjection, Config>;
  const int32_t k_blocks = args.gemm.layout.k_blocks;
  const int64_t block_stride = args.gemm.tokens.capacity * 128;
  RingPosition<Config::kStages> at;
  for_each_tile(schedule, [&](const Tile& tile) {
    // GEMM1: a lane copies its row; GEMM2: its block of 64 K of all rows.
    const uint8_t* source;
    if constexpr (Tokens::kGathered) {
      const int32_t index = tile.row_begin - table.offsets()[tile.expert] + lane;
      const int32_t token = lane < tile.row_count ? table.token(tile.expert, index) : 0;
      source = args.rows + static_cast<int64_t>(token) * args.row_bytes;
    } else {
      source = args.gemm.tokens.data + static_cast<int64_t>(tile.storage_begin) * 128 +
               lane * block_stride;
    }
    for (int32_t k_block = 0; k_block < k_blocks; k_block += Config::kStageBlocks) {
      const int32_t blocks = min(Config::kStageBlocks, k_blocks - k_block);
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      if (lane == 0) {
        if (k_block == 0) ring.tiles[at.stage] = tile;
        mbarrier_arrive_expect(full, static_cast<uint32_t>(blocks * tile.row_count) * 128);
      }
      __syncwarp();
      const uint32_t destination = shared_address(ring.tokens(at.stage));
      if constexpr (Tokens::kGathered) {
        if (lane < tile.row_count) {
          copy_bulk(destination + lane * Tokens::kRowBytes, source, blocks * 128, full);
        }
        source += Config::kStageK * 2;
      } else {
        if (lane < blocks) {
          copy_bulk(destination + lane * Tokens::kBlockBytes, source, tile.row_count * 128, full);
        }
        source += Config::kStageBlocks * block_stride;
      }
      at.advance();
    }
  });
}

/** Main loop of one consumer warp over one tile of at most kTokens columns. */
template <int kTokens, int kFormat, Projection kProjection, class Config>
__device__ __forceinline__ void narrow_multiply(
    const NarrowRing<kFormat, kProjection, Config>& ring, RingPosition<Config::kStages>& at,
    int32_t k_blocks, int warp, int lane, float (&d)[kTokens / 8][4]) {
  using Weights = Fragment<kFormat>;
  using Tokens = NarrowTokens<kProjection, Config>;
  const int row_block = warp / kStripsPerTile;
  const uint32_t offsets[2] = {Tokens::offset(lane, 0), Tokens::offset(lane, 1)};

  const auto multiply_block = [&](const uint8_t* weights, uint32_t tokens) {
    const typename Weights::Packed packed =
        Weights::load_shared(weights, warp % kStripsPerTile, lane);
    const auto multiply_half = [&](auto half) {
      constexpr int kHalf = decltype(half)::value;
      uint32_t a[2][4];
      Weights::template unpack<2 * kHalf>(packed, a[0]);
      Weights::template unpack<2 * kHalf + 1>(packed, a[1]);
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n) {
        uint32_t b[4];
        load_matrix_x4(b,
                       tokens + offsets[kHalf] + static_cast<uint32_t>(n * 8 * Tokens::kRowBytes));
        mma_m16n8k16(d[n], a[0], b[0], b[1]);
        mma_m16n8k16(d[n], a[1], b[2], b[3]);
      }
    };
    multiply_half(std::integral_constant<int, 0>{});
    multiply_half(std::integral_constant<int, 1>{});
  };

  for (int32_t left = k_blocks; left > 0; left -= Config::kStageBlocks) {
    mbarrier_wait(ring.full(at.stage), at.parity);
    const uint8_t* const weights =
        ring.weights(at.stage) + row_block * Config::kStageBlocks * Weights::kTileBytes;
    const uint32_t tokens = shared_address(ring.tokens(at.stage));
    if (left >= Config::kStageBlocks) {
#pragma unroll
      for (int block = 0; block < Config::kStageBlocks; ++block) {
        multiply_block(weights + block * Weights::kTileBytes,
                       tokens + static_cast<uint32_t>(block * Tokens::kBlockBytes));
      }
    } else {
#pragma unroll 1
      for (int block = 0; block < left; ++block) {
        multiply_block(weights + block * Weights::kTileBytes,
                       tokens + static_cast<uint32_t>(block * Tokens::kBlockBytes));
      }
    }
    mbarrier_arrive(ring.empty(at.stage));  // each thread for its own reads
    at.advance();
  }
}

/** One consumer warp, one tile of at most kTokens columns. */
template <int kTokens, int kFormat, Projection kProjection, class Config>
__device__ __forceinline__ void narrow_consume(const GroupedGemm& gemm, const Tile& tile,
                                               const NarrowRing<kFormat, kProjection, Config>& ring,
                                               RingPosition<Config::kStages>& at, int warp,
                                               int lane) {
  float d[kTokens / 8][4] = {};
  const auto make_epilogue = [&] {
    const int32_t strip = tile.row_tile * Config::kConsumers + warp;
    return StripEpilogue<kProjection>(gemm.epilogue, tile, strip, lane);
  };
  const auto store = [&](StripEpilogue<kProjection> epilogue) {
    store_columns<kTokens / 8>(gemm.epilogue, epilogue, tile.row_count, &d[0][0]);
  };
  // The main loop hides the latency of what the epilogue loads, where registers allow.
  if constexpr (kTokens <= 16) {
    const StripEpilogue<kProjection> epilogue = make_epilogue();
    narrow_multiply<kTokens>(ring, at, gemm.layout.k_blocks, warp, lane, d);
    store(epilogue);
  } else {
    narrow_multiply<kTokens>(ring, at, gemm.layout.k_blocks, warp, lane, d);
    store(make_epilogue());
  }
}

template <int kFormat, Projection kProjection, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    sm90_narrow_gemm(const __grid_constant__ NarrowGemm args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Ring = NarrowRing<kFormat, kProjection, Config>;
  extern __shared__ __align__(128) uint8_t shared[];
  uint8_t* const barriers = shared + Ring::kBytes;
  auto* const tiles = reinterpret_cast<Tile*>(barriers + Ring::kBarrierBytes);
  const Ring ring{shared, shared_address(barriers), tiles};
  const GroupedGemm& gemm = args.gemm;
  if (threadIdx.x == 0) {
    for (uint32_t s = 0; s < Config::kStages; ++s) {
      mbarrier_init(ring.full(s), 2);  // both copying warps, and bytes
      mbarrier_init(ring.empty(s), Config::kConsumers * 32);
    }
    mbarrier_init_fence();
  }

  // The kernel before GEMM1 may have made the routing; by the time GEMM2 starts that is old.
  if (kProjection == Projection::kGateUp) {
    grid_dependency_wait();
    grid_dependency_launch();
  }
  auto* const tables = reinterpret_cast<int32_t*>(tiles + Config::kStages);
  const TokenTable table(tables, args.routing);
  const Schedule schedule(tables + table_bytes(gemm.experts) / 4, table.offsets(), gemm.experts,
                          ceil_div(gemm.layout.row_blocks, Config::kRowBlocks), Config::kTokens);

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == 0) {
    if (lane == 0) narrow_copy_weights(gemm, schedule, ring);
  } else if (warp == 1) {
    if (kProjection == Projection::kDown) {
      grid_dependency_wait();
      grid_dependency_launch();
    }
    narrow_copy_tokens(args, schedule, table, lane, ring);
  } else {
    if (kProjection == Projection::kGateUp) {
      const int32_t slots = args.routing.slots();
      for (int32_t token = static_cast<int32_t>(blockIdx.x); token < args.routing.tokens;
           token += static_cast<int32_t>(gridDim.x)) {
        for (int32_t slot = static_cast<int32_t>(threadIdx.x) - 64; slot < slots;
             slot += Config::kConsumers * 32) {
          args.pair_row[token * slots + slot] = table.row(args.routing, token, slot);
        }
      }
    }
    RingPosition<Config::kStages> at;
    for (int32_t index = static_cast<int32_t>(blockIdx.x); index < schedule.size();
         index += static_cast<int32_t>(gridDim.x)) {
      mbarrier_wait(ring.full(at.stage), at.parity);
      const Tile tile = ring.tiles[at.stage];
      const auto consume = [&](auto columns) {
        narrow_consume<decltype(columns)::value>(gemm, tile, ring, at, warp - 2, lane);
      };
      if (Config::kTokens == 8 || tile.row_count <= 8) {
        consume(std::integral_constant<int, 8>{});
      } else if (Config::kTokens == 16 || tile.row_count <= 16) {
        consume(std::integral_constant<int, 16>{});
      } else {
        consume(std::integral_constant<int, Config::kTokens>{});
      }
    }
  }
#endif
}

}  // namespace moe4j::cuda
