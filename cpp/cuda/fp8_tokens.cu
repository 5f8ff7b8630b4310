// Rows of BF16 to E4M3 with one power of two a row, as fp8_layout.hpp lays tokens out.
#include "cuda/bf16.cuh"
#include "cuda/fp8_layout.hpp"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/storage_rows.cuh"
#include "formats/e4m3.hpp"
#include "formats/ue8m0.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kChunk = 16;  // elements a lane takes at a time
constexpr int kHeld = 6;    // chunks that a lane loads at once and keeps: rows of up to 3072

/** 16 BF16 as pairs, 8 of either block of 32 K; zeros past the end of the row. */
struct Chunk {
  uint32_t pairs[8];
};

/** Of x, from row `source` of the caller's; of h, from row `storage`, where GEMM1 left it. */
template <bool kIsX>
__device__ __forceinline__ Chunk load_chunk(const FillFp8& args, int64_t source, int64_t storage,
                                            int32_t k) {
  Chunk chunk = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t first = k / 64 * 64 + half * 32 + k % 64 / 2;
    if (first >= args.k) break;
    const void* from = kIsX ? static_cast<const void*>(args.source + source * args.k + first)
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
  const float low = lower_bf16(pair) * factor;
  const float high = upper_bf16(pair) * factor;
  uint32_t codes = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint16_t both;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(both) : "f"(high), "f"(low));
  codes = both;
#endif
  return codes;
}

__device__ __forceinline__ uint4 encode(const Chunk& chunk, float factor) {
  uint32_t words[4];
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    words[t] = encode_pair(chunk.pairs[2 * t], factor) | encode_pair(chunk.pairs[2 * t + 1], factor)
                                                             << 16;
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/** By a warp. GEMMs load the scales of 8 rows at a time, the padding's after an expert's last row.
 */
__device__ __forceinline__ void zero_padding_scales(const FillFp8& args, int32_t lane) {
  for (int32_t e = lane; e < args.experts; e += 32) {
    const int32_t count = args.offsets[e + 1] - args.offsets[e];
    float* const scales = args.token_scales + storage_begin(args.offsets[e], e);
    for (int32_t i = count; i % 8 != 0; ++i) scales[i] = 0;
  }
}

/**
 * Warp = row of the source, a token of x or a row of h: encoded once, for each of its rows of the
 * output. x is older than the permutation, and encoded while that is made.
 */
template <bool kIsX>
__global__ void __launch_bounds__(kWarps * 32) fill_fp8(const FillFp8 args) {
  const auto wait = [] {
    grid_dependency_wait();
    grid_dependency_launch();
  };
  if (!kIsX) wait();
  const int64_t source = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (source >= (kIsX ? args.tokens : args.offsets[args.experts])) return;
  const int64_t tiled = kIsX ? 0 : args.pair_storage[args.row_pair[source]];
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;

  uint32_t largest = 0;  // two magnitudes, as BF16 bits
  const auto look_at = [&](const Chunk& chunk) {
#pragma unroll
    for (const uint32_t pair : chunk.pairs) largest = __vmaxu2(largest, pair & 0x7FFF7FFFu);
  };
  Chunk held[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    held[i] = load_chunk<kIsX>(args, source, tiled, (i * 32 + lane) * kChunk);
  }
#pragma unroll
  for (int i = 0; i < kHeld; ++i) look_at(held[i]);
  const int32_t padded_k = round_up(args.k, kFp8TileK);
  for (int32_t k = (kHeld * 32 + lane) * kChunk; k < padded_k; k += 32 * kChunk) {
    look_at(load_chunk<kIsX>(args, source, tiled, k));
  }
  largest = __reduce_max_sync(0xFFFFFFFFu, max(largest & 0xFFFFu, largest >> 16)) << 16;
  const bool finite = largest < 0x7F800000u;
  const uint8_t scale = ue8m0_smallest_scale(finite ? __uint_as_float(largest) : 0.0f, kE4m3Max);
  // A NaN or infinity spoils its row, so that the damage stays visible.
  const float token_scale = finite ? ue8m0_decode(scale) : __int_as_float(0x7FC00000);
  const float factor = finite ? ue8m0_decode(static_cast<uint8_t>(254 - scale)) : 0.0f;
  uint4 codes[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) codes[i] = encode(held[i], factor);

  if (kIsX) wait();
  if (source == 0) zero_padding_scales(args, lane);
  const auto store_row = [&](int64_t storage) {
    if (lane == 0) args.token_scales[storage] = token_scale;
    const auto store = [&](const uint4& chunk, int32_t k) {
      if (k >= padded_k) return;
      *reinterpret_cast<uint4*>(fp8_chunk(args.output.data, args.output.capacity, storage, k)) =
          chunk;
    };
#pragma unroll
    for (int j = 0; j < kHeld; ++j) store(codes[j], (j * 32 + lane) * kChunk);
    for (int32_t k = (kHeld * 32 + lane) * kChunk; k < padded_k; k += 32 * kChunk) {
      store(encode(load_chunk<kIsX>(args, source, tiled, k), factor), k);
    }
  };
  if (kIsX) {
    for_each_storage_row(args.pair_storage + source * args.slots, args.slots, lane, store_row);
  } else {
    store_row(tiled);
  }
}

}  // namespace

void launch_fill_fp8(Chain& chain, const FillFp8& args) {
  const bool is_x = args.source != nullptr;
  const int64_t rows = is_x ? args.tokens : args.max_rows;
  chain.launch("fill_fp8", is_x ? fill_fp8<true> : fill_fp8<false>,
               dim3(static_cast<unsigned>(ceil_div(rows, kWarps))), kWarps * 32, 0, args);
}

}  // namespace moe4j::cuda
