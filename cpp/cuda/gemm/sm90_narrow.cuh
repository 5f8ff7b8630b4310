// A whole layer but finalize for few tokens on Hopper: one kernel of blocks that stay, mma.sync,
// everything through a ring of bulk copies.
//
//   weights warp      tokens warp          consumer warps (a strip of 16 rows each)
//   ------------      -----------          -----------------------------------------------
//   draw a tile
//   wait empty[s]     wait begun[s]        wait full[s]
//   copy weights  ->  copy tokens  ->      load codes, dequantize, ldmatrix, mma.sync
//   (both arrive on full[s])               arrive on empty[s]
//                                          store, arrive on stored   ->   announcing warp:
//                                                                         fence, count
// Every block sorts the routing out for itself (token_table.cuh), so that no kernel comes before,
// and GEMM1 gathers tokens straight from the caller's rows. Tiles are drawn from a counter, those
// of GEMM1 before those of GEMM2. A tile of GEMM2 needs all of its expert's h: blocks count an
// expert's tiles of GEMM1 as they are stored, and the tokens warp waits for the last. (A fence
// takes about a microsecond: a warp of its own has that time.) Nobody waits for a tile that has not
// been drawn, and tiles of GEMM1 wait for nothing: so all ends, whichever blocks run. Weights do
// not wait: memory stays busy from GEMM1 to GEMM2.
//
// Reading is the bottleneck and mma.sync has the fewest instructions around it for up to 32
// columns: no fences, no descriptors, and warps that drift apart, so that one's epilogue overlaps
// with another's main loop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cuda/dequant/fragment.cuh"
#include "cuda/gemm/epilogue.cuh"
#include "cuda/gemm/narrow_limits.hpp"
#include "cuda/gemm/schedule.cuh"
#include "cuda/gemm/sm90_shared.hpp"
#include "cuda/gemm/token_table.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/counter.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mbarrier.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/ptx/ring_position.cuh"
#include "cuda/ptx/uniform.cuh"

namespace moe4j::cuda {

template <int kTokens_, int kRowBlocks_, int kStageBlocks_, int kStages_, int kBlocks_>
struct NarrowConfig {
  static constexpr int kTokens = kTokens_;            // columns of a tile
  static constexpr int kRowBlocks = kRowBlocks_;      // of 64 rows a tile
  static constexpr int kStageBlocks = kStageBlocks_;  // of 64 K a stage
  static constexpr int kStages = kStages_;            // at most
  static constexpr int kBlocks = kBlocks_;            // a multiprocessor

  static constexpr int kConsumers = kRowBlocks * kStripsPerTile;  // warps
  static constexpr int kThreads = (kConsumers + 3) * 32;
  static constexpr int kStageK = kStageBlocks * kTileK;

  static_assert(kTokens == 8 || kTokens == 16 || kTokens == 32,
                "there are main loops for these, and a lane of the tokens warp copies one row");

  static constexpr int weight_bytes(int tile_bytes) {
    return kRowBlocks * kStageBlocks * tile_bytes;
  }
};

/** A tile of one of the two GEMMs. */
struct NarrowTile {
  Tile tile;      // expert -1: none follows
  bool is_down;   // of GEMM2, ...
  int32_t needs;  // ... which begins when so many tiles of GEMM1 are stored
};

/** Lane 0's. */
__device__ __forceinline__ NarrowTile broadcast(const NarrowTile& mine) {
  const Tile& tile = mine.tile;
  return {{uniform(tile.expert), uniform(tile.row_tile), uniform(tile.row_begin),
           uniform(tile.storage_begin), uniform(tile.row_count)},
          uniform(mine.is_down) != 0,
          uniform(mine.needs)};
}

/** What consumers are told at a tile's first stage. */
struct alignas(16) NarrowSlot {
  ExpertScalars scalars;  // copied with the tokens: from memory they would be waited for
  NarrowTile tile;
};

/** All tiles of both GEMMs. */
class NarrowSchedule {
 public:
  __device__ __forceinline__ NarrowSchedule(const Schedule& gate_up, int32_t down_row_tiles)
      : gate_up_(gate_up), down_(gate_up, down_row_tiles) {}

  __device__ __forceinline__ NarrowTile tile(int32_t index) const {
    if (index < gate_up_.size()) return {gate_up_.tile<true>(index), false, 0};
    index -= gate_up_.size();
    if (index >= down_.size()) return {{-1, 0, 0, 0, 0}, false, 0};
    const Tile tile = down_.tile<true>(index);
    return {tile, true, gate_up_.tiles_of(tile.expert)};
  }

 private:
  Schedule gate_up_;
  Schedule down_;
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

/** Shared memory: barriers, what consumers are told, stages, table. */
template <int kFormat, class Config>
struct NarrowRing {
  static constexpr int kWeightBytes = Config::weight_bytes(Fragment<kFormat>::kTileBytes);
  static constexpr int kTokenBytes = NarrowTokens<Projection::kGateUp, Config>::kBytes;
  static_assert(kTokenBytes >= NarrowTokens<Projection::kDown, Config>::kBytes);
  static constexpr int kStageBytes = round_up(kWeightBytes + kTokenBytes, 128);
  static constexpr int kBarrierBytes = round_up((3 * Config::kStages + 4) * 8, 16);
  static constexpr int kAnnouncedBytes = 16;
  static constexpr int kSlotBytes = Config::kStages * static_cast<int>(sizeof(NarrowSlot));
  static constexpr int kFixedBytes = round_up(kBarrierBytes + kAnnouncedBytes + kSlotBytes, 128);
  static_assert(kFixedBytes + kNarrowLeastStages * kStageBytes +
                        narrow_table_bytes(kNarrowTokens, kNarrowExperts) + kSm90BlockShared <=
                    kSm90Shared / Config::kBlocks,
                "the least stages fit beside the largest table");
  static_assert(kSm90BlockShared >= 1024 + kScanBytes, "exclusive_scan() is accounted for");

  uint8_t* base;
  int32_t stages;
  uint32_t barriers;
  NarrowSlot* slots;   // of each stage that is a tile's first
  int32_t* announced;  // [2] experts of tiles of GEMM1, -1 for the end

  __device__ __forceinline__ NarrowRing(uint8_t* shared, int32_t stages)
      : base(shared + kFixedBytes),
        stages(stages),
        barriers(shared_address(shared)),
        slots(reinterpret_cast<NarrowSlot*>(shared + kBarrierBytes + kAnnouncedBytes)),
        announced(reinterpret_cast<int32_t*>(shared + kBarrierBytes)) {}

  /** What follows the stages. */
  __device__ __forceinline__ int32_t* table() const {
    return reinterpret_cast<int32_t*>(base + stages * kStageBytes);
  }

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
  __device__ __forceinline__ uint32_t begun(uint32_t stage) const {
    return barriers + (2 * Config::kStages + stage) * 8;
  }
  /** A second ring, of two tiles: announced[i] is filled, and may be filled again. */
  __device__ __forceinline__ uint32_t stored(uint32_t i) const {
    return barriers + (3 * Config::kStages + i) * 8;
  }
  __device__ __forceinline__ uint32_t counted(uint32_t i) const {
    return barriers + (3 * Config::kStages + 2 + i) * 8;
  }
};

/** Lets so many cycles pass: what a stage's copies take to leave a multiprocessor. */
__device__ __forceinline__ void narrow_pause() {
  constexpr uint32_t kCycles = 600;
  const auto begin = static_cast<uint32_t>(clock());
  while (static_cast<uint32_t>(clock()) - begin < kCycles) {
  }
}

/**
 * One thread: draws tiles and copies weights of all their row blocks, in stages, past the L2 cache:
 * tokens, h and the output stay there. A tile is looked up while its predecessor's stages are on
 * their way: between two tiles memory would wait. All copies of a multiprocessor progress together:
 * so the first ones pause in between, and work begins when one stage has landed, not when the whole
 * ring has.
 */
template <int kFormat, class Config>
__device__ __forceinline__ void narrow_copy_weights(const NarrowLayer& layer,
                                                    const NarrowSchedule& schedule, int32_t index,
                                                    const NarrowRing<kFormat, Config>& ring) {
  constexpr int kTileBytes = Fragment<kFormat>::kTileBytes;
  DynamicRingPosition at;
  int32_t pauses = ring.stages - 2;
  NarrowTile next = schedule.tile(index);
  for (;;) {
    const Tile tile = next.tile;
    if (tile.expert >= 0) index = atomicAdd(layer.next_tile, 1);  // there when it is needed
    mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
    ring.slots[at.stage].tile = next;
    if (tile.expert < 0) break;
    const GroupedGemm& gemm = next.is_down ? layer.down : layer.gate_up;
    const int32_t k_blocks = gemm.layout.k_blocks;
    const int64_t row_block_bytes = gemm.layout.row_block_bytes();
    const int32_t row_blocks =
        min(Config::kRowBlocks, gemm.layout.row_blocks - tile.row_tile * Config::kRowBlocks);
    const uint8_t* source = gemm.weights + tile.expert * gemm.layout.expert_bytes() +
                            tile.row_tile * Config::kRowBlocks * row_block_bytes;
    const int32_t second = k_blocks > Config::kStageBlocks ? Config::kStageBlocks : 0;
    for (int32_t k_block = 0; k_block < k_blocks; k_block += Config::kStageBlocks) {
      const uint32_t bytes =
          static_cast<uint32_t>(min(Config::kStageBlocks, k_blocks - k_block)) * kTileBytes;
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      mbarrier_arrive(ring.begun(at.stage));
      mbarrier_arrive_expect(full, static_cast<uint32_t>(row_blocks) * bytes);
      const uint32_t destination = shared_address(ring.weights(at.stage));
#pragma unroll
      for (int r = 0; r < Config::kRowBlocks; ++r) {
        if (r < row_blocks) {
          copy_bulk_once(destination + r * Config::kStageBlocks * kTileBytes,
                         source + r * row_block_bytes, bytes, full);
        }
      }
      source += bytes;
      if (pauses > 0) narrow_pause();
      --pauses;
      if (k_block == second) next = schedule.tile(index);
      at.advance(ring.stages);
    }
  }
  mbarrier_arrive(ring.begun(at.stage));
  mbarrier_arrive(ring.full(at.stage));
}

/** One warp: a tile's tokens. */
template <int kFormat, class Config>
__device__ __forceinline__ void narrow_copy_tokens(const NarrowLayer& layer,
                                                   const TokenTable& table, int lane,
                                                   const NarrowRing<kFormat, Config>& ring) {
  using GateUpTokens = NarrowTokens<Projection::kGateUp, Config>;
  using DownTokens = NarrowTokens<Projection::kDown, Config>;
  DynamicRingPosition at;
  // Copies the stages of a tile: `copy` gets the destination, the number of K blocks and the
  // barrier.
  const auto copy_stages = [&](const GroupedGemm& gemm, const Tile& tile, auto&& copy) {
    const int32_t k_blocks = gemm.layout.k_blocks;
    for (int32_t k_block = 0; k_block < k_blocks; k_block += Config::kStageBlocks) {
      const int32_t blocks = min(Config::kStageBlocks, k_blocks - k_block);
      const uint32_t full = ring.full(at.stage);
      mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
      if (lane == 0) {
        mbarrier_wait(ring.begun(at.stage), at.parity);
        const auto bytes = static_cast<uint32_t>(blocks * tile.row_count) * 128;
        constexpr uint32_t kScalarBytes = sizeof(ExpertScalars);
        mbarrier_arrive_expect(full, k_block == 0 ? bytes + kScalarBytes : bytes);
        if (k_block == 0) {
          copy_bulk(shared_address(&ring.slots[at.stage].scalars),
                    gemm.epilogue.scalars + tile.expert, kScalarBytes, full);
        }
      }
      __syncwarp();
      copy(shared_address(ring.tokens(at.stage)), blocks, full);
      at.advance(ring.stages);
    }
  };
  for (;;) {
    // One lane looks and tells: it is the one that arrives on full[s], and so is done with the slot
    // before it is filled again.
    NarrowTile next = {};
    if (lane == 0) {
      mbarrier_wait(ring.begun(at.stage), at.parity);
      next = ring.slots[at.stage].tile;
    }
    next = broadcast(next);
    const Tile& tile = next.tile;
    if (tile.expert < 0) break;
    if (!next.is_down) {  // a lane copies its row
      const int32_t index = tile.row_begin - table.offsets()[tile.expert] + lane;
      const int32_t token = lane < tile.row_count ? table.token(tile.expert, index) : 0;
      const uint8_t* source = layer.rows + static_cast<int64_t>(token) * layer.row_bytes;
      copy_stages(layer.gate_up, tile, [&](uint32_t destination, int32_t blocks, uint32_t full) {
        if (lane < tile.row_count) {
          copy_bulk(destination + lane * GateUpTokens::kRowBytes, source, blocks * 128, full);
        }
        source += Config::kStageK * 2;
      });
    } else {  // a lane copies its block of 64 K of all rows
      if (lane == 0) wait_for_count(layer.stored + tile.expert, next.needs);
      __syncwarp();
      fence_proxy_async_global();
      const TiledRows& tokens = layer.down.tokens;
      const int64_t block_stride = tokens.capacity * 128;
      const uint8_t* source =
          tokens.data + static_cast<int64_t>(tile.storage_begin) * 128 + lane * block_stride;
      copy_stages(layer.down, tile, [&](uint32_t destination, int32_t blocks, uint32_t full) {
        if (lane < blocks) {
          copy_bulk(destination + lane * DownTokens::kBlockBytes, source, tile.row_count * 128,
                    full);
        }
        source += Config::kStageBlocks * block_stride;
      });
    }
  }
  if (lane == 0) mbarrier_arrive(ring.full(at.stage));
}

/** One thread: counts tiles of GEMM1 whose h is in memory. */
template <int kFormat, class Config>
__device__ __forceinline__ void narrow_announce(int32_t* stored,
                                                const NarrowRing<kFormat, Config>& ring) {
  RingPosition<2> at;
  for (;;) {
    mbarrier_wait_idly(ring.stored(at.stage), at.parity);
    const int32_t expert = ring.announced[at.stage];
    if (expert < 0) break;
    fence_proxy_async_global();  // h is read by bulk copies
    count_release(stored + expert);
    mbarrier_arrive(ring.counted(at.stage));
    at.advance();
  }
}

/** Main loop of one consumer warp over one tile of at most kTokens columns. */
template <int kTokens, Projection kProjection, int kFormat, class Config>
__device__ __forceinline__ void narrow_multiply(const NarrowRing<kFormat, Config>& ring,
                                                DynamicRingPosition& at, int32_t k_blocks, int warp,
                                                int lane, float (&d)[kTokens / 8][4]) {
  using Weights = Fragment<kFormat>;
  using Tokens = NarrowTokens<kProjection, Config>;
  const int row_block = warp / kStripsPerTile;
  const uint32_t scale_mask = Weights::scale_mask();
  const uint32_t offsets[2] = {Tokens::offset(lane, 0), Tokens::offset(lane, 1)};

  const auto multiply_block = [&](const uint8_t* weights, uint32_t tokens) {
    const typename Weights::Packed packed =
        Weights::load_shared(weights, warp % kStripsPerTile, lane);
    // Loads of tokens first, so that dequantization hides them; accumulators in turn.
    const auto multiply_half = [&](auto half) {
      constexpr int kHalf = decltype(half)::value;
      uint32_t b[kTokens / 8][4];
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n) {
        load_matrix_x4(b[n],
                       tokens + offsets[kHalf] + static_cast<uint32_t>(n * 8 * Tokens::kRowBytes));
      }
      uint32_t a[2][4];
      Weights::template unpack<2 * kHalf>(packed, a[0], scale_mask);
      Weights::template unpack<2 * kHalf + 1>(packed, a[1], scale_mask);
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n) mma_m16n8k16(d[n], a[0], b[n][0], b[n][1]);
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n) mma_m16n8k16(d[n], a[1], b[n][2], b[n][3]);
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
    at.advance(ring.stages);
  }
}

/** Without what launches of narrow kernels never have: constants make epilogues shorter. */
template <Projection kProjection>
__device__ __forceinline__ Epilogue narrow_options(const Epilogue& epilogue) {
  Epilogue options = epilogue;
  options.expert_scales = false;
  options.activation_scale = 1.0f;
  options.row_scales = nullptr;
  options.per_token_scale = nullptr;
  options.lora_delta = nullptr;
  options.output_f32 = false;
  if (kProjection == Projection::kGateUp) options.output = nullptr;
  return options;
}

/** One consumer warp, one tile of at most kTokens columns. */
template <int kTokens, Projection kProjection, int kFormat, class Config>
__device__ __forceinline__ void narrow_consume(const GroupedGemm& gemm, const Tile& tile,
                                               const NarrowRing<kFormat, Config>& ring,
                                               DynamicRingPosition& at, int warp, int lane) {
  float d[kTokens / 8][4] = {};
  const Epilogue options = narrow_options<kProjection>(gemm.epilogue);
  // The main loop hides the latency of what the epilogue loads, and the slot is free before it
  // ends.
  const ExpertScalars scalars = ring.slots[at.stage].scalars;
  const int32_t strip = tile.row_tile * Config::kConsumers + warp;
  const StripRows<kProjection> rows(options, scalars, tile.expert, strip, lane);
  StripEpilogue<kProjection> epilogue(options, scalars, rows, tile, strip, lane);
  narrow_multiply<kTokens, kProjection>(ring, at, gemm.layout.k_blocks, warp, lane, d);
  store_columns<kTokens / 8>(options, epilogue, tile.row_count, &d[0][0]);
}

/** The same for a tile of any size. */
template <Projection kProjection, int kFormat, class Config>
__device__ __forceinline__ void narrow_consume_tile(const GroupedGemm& gemm, const Tile& tile,
                                                    const NarrowRing<kFormat, Config>& ring,
                                                    DynamicRingPosition& at, int warp, int lane) {
  const auto consume = [&](auto columns) {
    narrow_consume<decltype(columns)::value, kProjection>(gemm, tile, ring, at, warp, lane);
  };
  // No more main loops than pay: instructions have a cache, too.
  if (Config::kTokens == 8 || tile.row_count <= 8) {
    consume(std::integral_constant<int, 8>{});
  } else if (Config::kTokens == 16 || tile.row_count <= 16) {
    consume(std::integral_constant<int, std::min(Config::kTokens, 16)>{});
  } else if (tile.row_count <= 24) {
    consume(std::integral_constant<int, std::min(Config::kTokens, 24)>{});
  } else {
    consume(std::integral_constant<int, Config::kTokens>{});
  }
}

template <int kFormat, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    sm90_narrow(const __grid_constant__ NarrowLayer layer) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Ring = NarrowRing<kFormat, Config>;
  extern __shared__ __align__(128) uint8_t shared[];
  const Ring ring(shared, layer.stages);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t experts = layer.gate_up.experts;
  const int32_t row_tiles = ceil_div(layer.gate_up.layout.row_blocks, Config::kRowBlocks);
  int32_t index = 0;  // of the weights thread's first tile
  if (threadIdx.x == 0) {
    index = atomicAdd(layer.next_tile, 1);  // counters are zero before this kernel starts
    for (int32_t s = 0; s < ring.stages; ++s) {
      mbarrier_init(ring.full(s), 2);  // both copying warps, and bytes
      mbarrier_init(ring.empty(s), Config::kConsumers * 32);
      mbarrier_init(ring.begun(s), 1);
    }
    for (uint32_t i = 0; i < 2; ++i) {
      mbarrier_init(ring.stored(i), Config::kConsumers * 32);
      mbarrier_init(ring.counted(i), 1);
    }
    mbarrier_init_fence();
  }
  if (!layer.routing_is_input) grid_dependency_wait();
  const TokenTable table(ring.table(), layer.routing, Config::kTokens);
  const Schedule gate_up(table.first_tile(), table.offsets(), experts, row_tiles);

  if (warp == 0) {
    const NarrowSchedule schedule(gate_up,
                                  ceil_div(layer.down.layout.row_blocks, Config::kRowBlocks));
    if (lane == 0) narrow_copy_weights(layer, schedule, index, ring);
  } else if (warp == 1) {
    narrow_copy_tokens(layer, table, lane, ring);
  } else if (warp == Config::kConsumers + 2) {
    const int32_t slots = layer.routing.slots();
    for (int32_t token = static_cast<int32_t>(blockIdx.x); token < layer.routing.tokens;
         token += static_cast<int32_t>(gridDim.x)) {
      for (int32_t slot = lane; slot < slots; slot += 32) {
        layer.pair_row[token * slots + slot] = table.row(layer.routing, token, slot);
      }
    }
    __threadfence();  // finalize reads it before it waits
    __syncwarp();
    if (lane == 0) {
      grid_dependency_wait();
      grid_dependency_launch();
      narrow_announce(layer.stored, ring);
    }
  } else {
    DynamicRingPosition at;
    RingPosition<2> done;
    const auto announce = [&](int32_t expert) {
      mbarrier_wait(ring.counted(done.stage), done.parity ^ 1);
      if (warp == 2 && lane == 0) ring.announced[done.stage] = expert;
      mbarrier_arrive(ring.stored(done.stage));
      done.advance();
    };
    for (;;) {
      mbarrier_wait(ring.full(at.stage), at.parity);
      const Tile tile = ring.slots[at.stage].tile.tile;
      if (tile.expert < 0) break;
      if (!ring.slots[at.stage].tile.is_down) {
        narrow_consume_tile<Projection::kGateUp>(layer.gate_up, tile, ring, at, warp - 2, lane);
        announce(tile.expert);
      } else {
        narrow_consume_tile<Projection::kDown>(layer.down, tile, ring, at, warp - 2, lane);
      }
    }
    announce(-1);
  }
#endif
}

}  // namespace moe4j::cuda
