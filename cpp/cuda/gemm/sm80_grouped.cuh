// Grouped GEMM for every GPU from Ampere on: mma.sync, weights straight from memory to registers.
//
//   memory --16-byte loads, one stage ahead--> registers --dequantize--> A fragments --+
//   tokens --cp.async, kStages - 1 ahead-----> shared memory --ldmatrix--> B fragments -+-> mma
//
// Prepared weights are in fragment order, so they need no shared memory: each warp owns kStrips
// strips of 16 rows and streams them at its own pace; only the tokens, which all warps read, go
// through a ring in shared memory, with one block barrier a stage. Both streams run on over the
// ends of tiles: the first weights and tokens of the next tile are on their way before the epilogue
// of this one.
#pragma once

#include <cstdint>

#include "cuda/dequant/fragment.cuh"
#include "cuda/gemm/epilogue.cuh"
#include "cuda/gemm/schedule.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/ptx/mma.cuh"

namespace moe4j::cuda {

template <int kTokens_, int kWarps_, int kStrips_, int kStageBlocks_, int kStages_, int kMinBlocks_>
struct Sm80Config {
  static constexpr int kTokens = kTokens_;  // columns of a tile
  static constexpr int kWarps = kWarps_;
  static constexpr int kStrips = kStrips_;            // of 16 rows a warp
  static constexpr int kStageBlocks = kStageBlocks_;  // of 64 K a stage
  static constexpr int kStages = kStages_;
  static constexpr int kMinBlocks = kMinBlocks_;  // a multiprocessor, bounds registers

  static constexpr int kThreads = kWarps * 32;
  static constexpr int kRowTile = kWarps * kStrips * kStripRows;
  static constexpr int kBlockBytes = kTokens * kTileK * 2;
  static constexpr int kStageBytes = kStageBlocks * kBlockBytes;
  static constexpr int kChunks = kTokens * 8;  // of 16 bytes in a token block

  static_assert(kTokens % 8 == 0, "mma.sync has 8 columns");
  static_assert(kRowTile % kTileRows == 0, "a tile of weights belongs to one block");
  static_assert(kStageBlocks * kChunks % kThreads == 0, "all threads copy equally much");

  /** The schedule's bytes come on top. */
  static constexpr int shared_bytes() { return kStages * kStageBytes; }
};

/** Walks the stages of the tiles of one block. */
class StageCursor {
 public:
  __device__ __forceinline__ StageCursor(const Schedule& schedule, int32_t stages)
      : schedule_(schedule), stages_(stages), index_(static_cast<int32_t>(blockIdx.x)) {
    if (valid()) tile_ = schedule_.tile(index_);
  }

  __device__ __forceinline__ bool valid() const { return index_ < schedule_.size(); }
  __device__ __forceinline__ bool at_tile_end() const { return stage_ == stages_ - 1; }
  __device__ __forceinline__ int32_t stage() const { return stage_; }
  __device__ __forceinline__ const Tile& tile() const { return tile_; }

  __device__ __forceinline__ void advance() {
    if (++stage_ < stages_) return;
    stage_ = 0;
    index_ += static_cast<int32_t>(gridDim.x);
    if (valid()) tile_ = schedule_.tile(index_);
  }

 private:
  const Schedule& schedule_;
  int32_t stages_;
  int32_t index_;
  int32_t stage_ = 0;
  Tile tile_{};
};

/** Copies token stages into the ring, byte for byte: TiledRows is already swizzled for ldmatrix. */
template <class Config>
class TokenLoader {
 public:
  __device__ __forceinline__ TokenLoader(const GroupedGemm& gemm, uint32_t ring)
      : gemm_(gemm), thread_(static_cast<int32_t>(threadIdx.x)), ring_(ring) {}

  __device__ __forceinline__ void load(const StageCursor& cursor, int32_t slot) {
    const uint32_t stage = ring_ + static_cast<uint32_t>(slot) * Config::kStageBytes;
    const int32_t first_block = cursor.stage() * Config::kStageBlocks;
    const uint8_t* source =
        gemm_.tokens.data +
        (first_block * gemm_.tokens.capacity + cursor.tile().storage_begin) * 128;
    constexpr int kPerThread = Config::kStageBlocks * Config::kChunks / Config::kThreads;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int32_t q = thread_ + i * Config::kThreads;
      const int32_t block = q / Config::kChunks;
      const int32_t in_block = q % Config::kChunks;
      const bool valid =
          in_block / 8 < cursor.tile().row_count && first_block + block < gemm_.layout.k_blocks;
      copy_async_16(
          stage + static_cast<uint32_t>(q * 16),
          valid ? source + block * gemm_.tokens.capacity * 128 + in_block * 16 : gemm_.tokens.data,
          valid);
    }
  }

 private:
  const GroupedGemm& gemm_;
  int32_t thread_;
  uint32_t ring_;
};

// BF16 weights take four times the registers, so that fewer blocks fit.
template <int kFormat, Projection kProjection, class Config>
__global__ void __launch_bounds__(Config::kThreads,
                                  kFormat == MOE4J_FORMAT_BF16 ? 1 : Config::kMinBlocks)
    sm80_grouped_gemm(const __grid_constant__ GroupedGemm gemm) {
  using Weights = Fragment<kFormat>;
  constexpr int kColumnTiles = Config::kTokens / 8;
  extern __shared__ __align__(1024) uint8_t shared[];
  const uint32_t ring = shared_address(shared);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;

  // GEMM1 may follow close on the kernels that made the offsets; when GEMM2 starts they are old.
  if (kProjection == Projection::kGateUp) grid_dependency_wait();
  const int32_t stages = ceil_div(gemm.layout.k_blocks, Config::kStageBlocks);
  const Schedule schedule(
      reinterpret_cast<int32_t*>(shared + Config::kStages * Config::kStageBytes), gemm.offsets,
      gemm.experts, ceil_div(gemm.layout.row_blocks * kTileRows, Config::kRowTile),
      all_tiles(Config::kTokens));

  // A warp's strips lie in one tile of 64 rows: kStrips divides 4.
  const int first_strip = warp * Config::kStrips;
  typename Weights::Packed packed[Config::kStageBlocks][Config::kStrips];
  const auto load_weights = [&](const StageCursor& at, int block) {
    const int32_t k_block = at.stage() * Config::kStageBlocks + block;
    const int32_t row_block =
        at.tile().row_tile * (Config::kRowTile / kTileRows) + first_strip / kStripsPerTile;
    if (!at.valid() || k_block >= gemm.layout.k_blocks || row_block >= gemm.layout.row_blocks) {
      return;
    }
    const uint8_t* tile = gemm.weights + at.tile().expert * gemm.layout.expert_bytes() +
                          row_block * gemm.layout.row_block_bytes() +
                          static_cast<int64_t>(k_block) * Weights::kTileBytes;
#pragma unroll
    for (int s = 0; s < Config::kStrips; ++s) {
      packed[block][s] = Weights::load_global(tile, first_strip % kStripsPerTile + s, lane);
    }
  };

  StageCursor weights_at(schedule, stages);
  StageCursor tokens_at(schedule, stages);
  StageCursor at(schedule, stages);
#pragma unroll
  for (int block = 0; block < Config::kStageBlocks; ++block) load_weights(weights_at, block);
  if (weights_at.valid()) weights_at.advance();

  if (kProjection == Projection::kDown) grid_dependency_wait();
  grid_dependency_launch();

  TokenLoader<Config> tokens(gemm, ring);
  for (int slot = 0; slot < Config::kStages - 1; ++slot) {
    if (tokens_at.valid()) {
      tokens.load(tokens_at, slot);
      tokens_at.advance();
    }
    copy_async_commit();
  }

  float d[Config::kStrips][kColumnTiles][4] = {};
  int32_t slot = 0;
  while (at.valid()) {
    copy_async_wait<Config::kStages - 2>();
    __syncthreads();  // this stage has landed for all, and all have left the one before it
    if (tokens_at.valid()) {
      tokens.load(tokens_at, slot == 0 ? Config::kStages - 1 : slot - 1);
      tokens_at.advance();
    }
    copy_async_commit();

    const uint32_t stage = ring + static_cast<uint32_t>(slot) * Config::kStageBytes;
#pragma unroll
    for (int block = 0; block < Config::kStageBlocks; ++block) {
      if (at.stage() * Config::kStageBlocks + block < gemm.layout.k_blocks) {
        const uint32_t rows = stage + static_cast<uint32_t>(block * Config::kBlockBytes);
        const auto multiply = [&](auto half) {
          constexpr int kHalf = decltype(half)::value;
          uint32_t a[Config::kStrips][2][4];
#pragma unroll
          for (int s = 0; s < Config::kStrips; ++s) {
            Weights::template unpack<2 * kHalf>(packed[block][s], a[s][0]);
            Weights::template unpack<2 * kHalf + 1>(packed[block][s], a[s][1]);
          }
#pragma unroll
          for (int n = 0; n < kColumnTiles; ++n) {
            uint32_t b[4];
            const int row = lane & 7;
            const int chunk = (kHalf * 4 + (lane >> 3)) ^ row;
            load_matrix_x4(b, rows + static_cast<uint32_t>((n * 8 + row) * 128 + chunk * 16));
#pragma unroll
            for (int s = 0; s < Config::kStrips; ++s) {
              mma_m16n8k16(d[s][n], a[s][0], b[0], b[1]);
              mma_m16n8k16(d[s][n], a[s][1], b[2], b[3]);
            }
          }
        };
        multiply(std::integral_constant<int, 0>{});
        multiply(std::integral_constant<int, 1>{});
      }
      load_weights(weights_at, block);
    }
    if (weights_at.valid()) weights_at.advance();

    if (at.at_tile_end()) {
      const Tile& tile = at.tile();
#pragma unroll
      for (int s = 0; s < Config::kStrips; ++s) {
        const int32_t strip = tile.row_tile * (Config::kRowTile / kStripRows) + first_strip + s;
        StripEpilogue<kProjection> epilogue(gemm.epilogue, tile, strip, lane);
        store_columns<kColumnTiles>(gemm.epilogue, epilogue, tile.row_count, &d[s][0][0]);
#pragma unroll
        for (int n = 0; n < kColumnTiles; ++n) {
          d[s][n][0] = d[s][n][1] = d[s][n][2] = d[s][n][3] = 0.0f;
        }
      }
    }
    at.advance();
    slot = slot == Config::kStages - 1 ? 0 : slot + 1;
  }
  copy_async_wait<0>();
}

}  // namespace moe4j::cuda
