// Orders (token, slot) pairs by expert, then token.
//
// A block sets in shared memory, for each expert, a bit for each token of a chunk that chose it. An
// expert's count is the number of its bits, a pair's rank the number of bits of tokens before its
// own. Setting bits has no order that could change from run to run, and an expert that a token
// names twice counts once. Then the block places the pairs of a few of these tokens: writing to
// scattered places takes long, about one a cycle and multiprocessor, and many multiprocessors share
// it. Up to kWholeTokens every block marks all tokens, which takes less than waiting for another
// kernel; more are cut into chunks, and a first kernel leaves each chunk's counts for all blocks.
#include <algorithm>

#include "cuda/block_scan.cuh"
#include "cuda/divider.hpp"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"
#include "cuda/shared_memory.hpp"
#include "support/limits.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMinThreads = 256;
constexpr int kIdsPerThread = 8;  // whose loads overlap
constexpr int32_t kChunkTokens = 1024;
constexpr int32_t kWholeTokens = 2048;
constexpr int32_t kWholeBytes = 96 << 10;  // of shared memory, which every GPU since Ampere has

/** How the tokens are cut. */
struct Cut {
  int32_t chunks;
  int32_t chunk_tokens;  // a multiple of 32
  int32_t block_tokens;  // that a block places; divides 32, and no more pairs than threads
  Divider by_top_k;
  Divider by_slots;
  Divider by_experts;
};

/** Shared memory of a block. */
struct Bitmaps {
  uint32_t* bits;   // [words][experts], bit t of word w: token 32 w + t of the chunk
  int32_t* first;   // [experts] pairs of tokens before word `word` of the chunk
  int32_t* totals;  // [experts + 1] pairs of all tokens, then their exclusive sums
  int32_t experts;
  int32_t words;

  __device__ Bitmaps(uint8_t* shared, int32_t count, int32_t tokens)
      : experts(count), words(tokens / 32) {
    bits = reinterpret_cast<uint32_t*>(shared);
    first = reinterpret_cast<int32_t*>(bits + words * count);
    totals = first + count;
  }

  static constexpr int32_t bytes(int32_t experts, int32_t tokens) {
    return experts * (tokens / 32 + 2) * 4 + 4;
  }
};

/** Zeroes everything, before it waits for the kernel before. */
__device__ __forceinline__ void zero(const Bitmaps& maps) {
  const int32_t count = maps.experts * (maps.words + 2);
  for (auto i = static_cast<int32_t>(threadIdx.x); i < count;
       i += static_cast<int32_t>(blockDim.x)) {
    maps.bits[i] = 0;
  }
  __syncthreads();
}

/** Sets the bits of a chunk's tokens, of which `begin` is the first. */
__device__ __forceinline__ void mark(const Routing& routing, const Cut& cut, const Bitmaps& maps,
                                     int64_t begin) {
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const auto threads = static_cast<int32_t>(blockDim.x);
  const auto tokens = static_cast<int32_t>(min(int64_t{cut.chunk_tokens}, routing.tokens - begin));
  const int32_t ids = tokens * routing.top_k;
  const int32_t* const words = id_words(routing) + begin * routing.top_k;
  for (int32_t base = thread; base < ids; base += kIdsPerThread * threads) {
    int32_t word[kIdsPerThread];
#pragma unroll
    for (int i = 0; i < kIdsPerThread; ++i) {  // without branches: all are on their way at once
      word[i] = words[min(base + i * threads, ids - 1)];
    }
#pragma unroll
    for (int i = 0; i < kIdsPerThread; ++i) {
      const int32_t at = base + i * threads;
      const int32_t expert = at < ids ? local_expert(routing, id_in(routing, word[i])) : -1;
      if (expert < 0) continue;
      const auto token = static_cast<uint32_t>(cut.by_top_k.divide(at));
      atomicOr(maps.bits + token / 32 * maps.experts + expert, 1u << token % 32);
    }
  }
  for (int32_t s = 0; s < routing.shared; ++s) {
    for (int32_t w = thread; w * 32 < tokens; w += threads) {
      maps.bits[w * maps.experts + routing.local_experts + s] =
          tokens - w * 32 >= 32 ? 0xFFFFFFFFu : (1u << (tokens - w * 32)) - 1;
    }
  }
  __syncthreads();
}

/** Adds the chunk's bits up, in `first` those of words before `word`; several threads an expert. */
__device__ __forceinline__ void count(const Cut& cut, const Bitmaps& maps, int32_t word,
                                      const int32_t* chunk_counts, int32_t chunk) {
  const auto threads = static_cast<int32_t>(blockDim.x);
  const int32_t parts = max(1, cut.by_experts.divide(threads));
  for (auto i = static_cast<int32_t>(threadIdx.x); i < parts * maps.experts; i += threads) {
    const int32_t part = cut.by_experts.divide(i);
    const int32_t expert = i - part * maps.experts;
    int32_t below = 0;
    int32_t total = 0;
#pragma unroll 8
    for (int32_t w = part; w < maps.words; w += parts) {
      const int32_t there = __popc(maps.bits[w * maps.experts + expert]);
      if (w < word) below += there;
      total += there;
    }
    if (chunk_counts != nullptr) {
      total = 0;  // already among the counts
#pragma unroll 8
      for (int32_t c = part; c < cut.chunks; c += parts) {
        const int32_t there = chunk_counts[int64_t{c} * maps.experts + expert];
        if (c < chunk) below += there;
        total += there;
      }
    }
    atomicAdd(maps.first + expert, below);
    atomicAdd(maps.totals + expert, total);
  }
}

/** Block = chunk. */
__global__ void __launch_bounds__(kMaxThreads, 1)
    permute_count(const Routing routing, const Cut cut, int32_t* chunk_counts) {
  extern __shared__ __align__(16) uint8_t shared[];
  const Bitmaps maps(shared, routing.experts(), cut.chunk_tokens);
  zero(maps);
  grid_dependency_wait();
  grid_dependency_launch();
  mark(routing, cut, maps, int64_t{blockIdx.x} * cut.chunk_tokens);
  count(cut, maps, 0, nullptr, 0);
  __syncthreads();
  for (auto e = static_cast<int32_t>(threadIdx.x); e < maps.experts;
       e += static_cast<int32_t>(blockDim.x)) {
    chunk_counts[int64_t{blockIdx.x} * maps.experts + e] = maps.totals[e];
  }
}

/**
 * Block = block_tokens tokens, thread = one of their pairs. `chunk_counts` is that of
 * permute_count(), or NULL if there is only one chunk.
 */
__global__ void __launch_bounds__(kMaxThreads, 1)
    permute(const Routing routing, const Cut cut, const int32_t* chunk_counts,
            const Permutation out) {
  extern __shared__ __align__(16) uint8_t shared[];
  const Bitmaps maps(shared, routing.experts(), cut.chunk_tokens);
  zero(maps);
  grid_dependency_wait();
  grid_dependency_launch();
  const int64_t first_token = int64_t{blockIdx.x} * cut.block_tokens;
  const auto chunk = chunk_counts != nullptr ? static_cast<int32_t>(first_token / kChunkTokens) : 0;
  const int64_t begin = int64_t{chunk} * cut.chunk_tokens;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const int32_t in_block = cut.by_slots.divide(thread);
  const int64_t token = first_token + in_block;
  const int32_t slot = thread - in_block * routing.slots();
  const bool has_pair = in_block < cut.block_tokens && token < routing.tokens;
  mark(routing, cut, maps, begin);
  const int32_t expert = has_pair ? slot_expert(routing, token, slot) : -1;
  const auto in_chunk = static_cast<uint32_t>(token - begin);
  count(cut, maps, static_cast<int32_t>(first_token - begin) / 32, chunk_counts, chunk);
  exclusive_scan(maps.totals, maps.experts);
  if (blockIdx.x == 0) {
    for (int32_t e = thread; e <= maps.experts; e += static_cast<int32_t>(blockDim.x)) {
      out.offsets[e] = maps.totals[e];
    }
    if (thread < kTileCounters) out.next_tiles[thread] = 0;
  }
  if (!has_pair) return;
  const int64_t pair = token * routing.slots() + slot;
  int32_t row = -1;
  int32_t storage = -1;
  if (expert >= 0) {
    const int32_t rows_begin = maps.totals[expert];
    const uint32_t before =
        maps.bits[in_chunk / 32 * maps.experts + expert] & ((1u << in_chunk % 32) - 1);
    const int32_t rank = maps.first[expert] + __popc(before);
    row = rows_begin + rank;
    storage = storage_begin(rows_begin, expert) + rank;
    out.row_pair[row] = static_cast<int32_t>(pair);
  }
  out.pair_row[pair] = row;
  out.pair_storage[pair] = storage;
}

}  // namespace

Status kernel_architecture(int32_t* architecture) {
  cudaFuncAttributes attributes;
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaFuncGetAttributes(&attributes, permute),
                                    "looking for kernels of the device"));
  *architecture = attributes.ptxVersion;
  return Status::ok();
}

Status prepare_permute(int32_t* max_experts) {
  *max_experts = kMaxExperts + kMaxTopK;
  for (const void* kernel :
       {reinterpret_cast<const void*>(permute_count), reinterpret_cast<const void*>(permute)}) {
    int32_t granted = 0;
    MOE4J_RETURN_IF_ERROR(
        allow_shared_memory(kernel, Bitmaps::bytes(*max_experts, kChunkTokens), &granted));
    while (Bitmaps::bytes(*max_experts, kChunkTokens) > granted) --*max_experts;
  }
  return Status::ok();
}

int32_t permute_chunks(int64_t tokens) {
  return static_cast<int32_t>(ceil_div(tokens, kChunkTokens));
}

void launch_permute(Chain& chain, const Routing& routing, int32_t* chunk_counts,
                    const Permutation& permutation) {
  const auto whole =
      static_cast<int32_t>(std::min<int64_t>(round_up(routing.tokens, 32), kWholeTokens));
  const bool one_chunk =
      routing.tokens <= whole && Bitmaps::bytes(routing.experts(), whole) <= kWholeBytes;
  const int32_t chunk_tokens = one_chunk ? whole : kChunkTokens;
  const Cut cut = {static_cast<int32_t>(ceil_div(routing.tokens, chunk_tokens)),
                   chunk_tokens,
                   routing.slots() > 32 ? 16 : 32,
                   Divider(routing.top_k),
                   Divider(routing.slots()),
                   Divider(routing.experts())};
  const int32_t wanted = ceil_div(chunk_tokens * routing.top_k, kIdsPerThread * 32) * 32;
  const int32_t pairs = round_up(cut.block_tokens * routing.slots(), 32);
  const int threads = std::clamp(wanted, std::max(kMinThreads, pairs), kMaxThreads);
  const int32_t shared_bytes = Bitmaps::bytes(routing.experts(), chunk_tokens);
  if (!one_chunk) {
    chain.launch("permute_count", permute_count, dim3(static_cast<unsigned>(cut.chunks)), threads,
                 shared_bytes, routing, cut, chunk_counts);
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(routing.tokens, cut.block_tokens)));
  chain.launch("permute", permute, grid, threads, shared_bytes, routing, cut,
               one_chunk ? nullptr : chunk_counts, permutation);
}

}  // namespace moe4j::cuda
