// Rows of BF16 to E4M3 with one power of two a row, as fp8_layout.hpp lays tokens out.
#include "cuda/fp8_layout.hpp"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "formats/e4m3.hpp"
#include "formats/ue8m0.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kChunk = 16;  // elements a lane takes at a time
constexpr int kHeld = 6;    // chunks that a lane loads at once and keeps: rows of up to 3072

/** 16 BF16 as pairs, zeros past the end of the row. */
struct Chunk {
  uint32_t pairs[8];
};

__device__ __forceinline__ Chunk load_chunk(const FillFp8& args, int64_t source, int64_t storage,
                                            int32_t k) {
  Chunk chunk = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t first = k + half * 8;
    if (first >= args.k) break;
    const void* from = args.source != nullptr
                           ? static_cast<const void*>(args.source + source * args.k + first)
                           : args.tiled_source.chunk(storage, first);
    const uint4 words = *static_cast<const uint4*>(from);
    chunk.pairs[half * 4] = words.x;
    chunk.pairs[half * 4 + 1] = words.y;
    chunk.pairs[half * 4 + 2] = words.z;
    chunk.pairs[half * 4 + 3] = words.w;
  }
  return chunk;
}

/** Two E4M3 of a pair of BF16, each times `factor`, a power of two: rounded once. */
__device__ __forceinline__ uint32_t encode_pair(uint32_t pair, float factor) {
  const float low = __uint_as_float(pair << 16) * factor;
  const float high = __uint_as_float(pair & 0xFFFF0000u) * factor;
  uint32_t codes = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint16_t both;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(both) : "f"(high), "f"(low));
  codes = both;
#endif
  return codes;
}

/** Warp = row of the permutation. */
__global__ void __launch_bounds__(kWarps * 32) fill_fp8(const FillFp8 args) {
  grid_dependency_wait();
  grid_dependency_launch();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= args.offsets[args.experts]) return;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  const int64_t storage = args.row_storage[row];
  const int64_t source = args.source != nullptr ? args.row_source[row] : 0;

  uint32_t largest = 0;  // two magnitudes, as BF16 bits
  const auto look_at = [&](const Chunk& chunk) {
#pragma unroll
    for (const uint32_t pair : chunk.pairs) largest = __vmaxu2(largest, pair & 0x7FFF7FFFu);
  };
  Chunk held[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    held[i] = load_chunk(args, source, storage, (i * 32 + lane) * kChunk);
  }
#pragma unroll
  for (int i = 0; i < kHeld; ++i) look_at(held[i]);
  for (int32_t k = (kHeld * 32 + lane) * kChunk; k < args.k; k += 32 * kChunk) {
    look_at(load_chunk(args, source, storage, k));
  }
  largest = __reduce_max_sync(0xFFFFFFFFu, max(largest & 0xFFFFu, largest >> 16)) << 16;
  const bool finite = largest < 0x7F800000u;
  const uint8_t scale = ue8m0_smallest_scale(finite ? __uint_as_float(largest) : 0.0f, kE4m3Max);
  // A NaN or infinity spoils its row, so that the damage stays visible.
  if (lane == 0) {
    args.token_scales[storage] = finite ? ue8m0_decode(scale) : __int_as_float(0x7FC00000);
  }
  // GEMMs load the scales of 8 rows at a time: the last row of an expert has those of its padding.
  const bool last =
      row + 1 == args.offsets[args.experts] || args.row_storage[row + 1] != storage + 1;
  if (last && lane > 0 && storage % 8 + lane < 8) args.token_scales[storage + lane] = 0.0f;
  const float factor = finite ? ue8m0_decode(static_cast<uint8_t>(254 - scale)) : 0.0f;

  const int32_t padded_k = ceil_div(args.k, kFp8TileK) * kFp8TileK;
  const auto encode = [&](const Chunk& chunk, int32_t k) {
    if (k >= padded_k) return;
    uint32_t words[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {  // positions 4t..4t+3: elements 2t, 2t + 1, 2t + 8, 2t + 9
      words[t] = encode_pair(chunk.pairs[t], factor) | encode_pair(chunk.pairs[t + 4], factor)
                                                           << 16;
    }
    *reinterpret_cast<uint4*>(fp8_chunk(args.output.data, args.output.capacity, storage, k)) =
        make_uint4(words[0], words[1], words[2], words[3]);
  };
#pragma unroll
  for (int i = 0; i < kHeld; ++i) encode(held[i], (i * 32 + lane) * kChunk);
  for (int32_t k = (kHeld * 32 + lane) * kChunk; k < padded_k; k += 32 * kChunk) {
    encode(load_chunk(args, source, storage, k), k);
  }
}

}  // namespace

void launch_fill_fp8(Chain& chain, const FillFp8& args) {
  chain.launch("fill_fp8", fill_fp8, dim3(static_cast<unsigned>(ceil_div(args.max_rows, kWarps))),
               kWarps * 32, 0, args);
}

}  // namespace moe4j::cuda
