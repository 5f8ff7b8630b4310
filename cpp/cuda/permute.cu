// Orders (token, slot) pairs by expert, then token: count, scan and scatter.
//
// A block looks at a chunk of tokens, one a thread, and sets in shared memory, for each expert, a
// bit for each token that chose it. An expert's count is the number of its bits, a pair's rank the
// number of bits below its own, and a bit that is already set betrays an expert chosen twice.
// Setting bits has no order that could change from run to run. A first kernel leaves each block's
// counts for all blocks of the second, unless one block does everything. What takes time is writing
// to scattered places, about one a cycle and multiprocessor: hence small chunks, of which many
// multiprocessors have one, until reading the counts of all would take longer.
#include "cuda/block_scan.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"
#include "cuda/shared_memory.hpp"
#include "support/limits.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kMaxThreads = 1024;  // tokens of a block
constexpr int kSmallChunk = 128;
constexpr int64_t kManyTokens = 16384;

int chunk_tokens(int64_t tokens) { return tokens > kManyTokens ? kMaxThreads : kSmallChunk; }

/** Shared memory of a block. */
struct Bitmaps {
  uint32_t* bits;    // [words][experts], bit t of word w: token 32 w + t
  int32_t* first;    // [experts] first row, of this block's pairs
  int32_t* totals;   // [experts + 1] pairs of all tokens, then their exclusive sums
  uint16_t* before;  // [words][experts] bits in lower words
  int32_t experts;
  int32_t words;

  __device__ Bitmaps(uint8_t* shared, int32_t count)
      : experts(count), words(static_cast<int32_t>(blockDim.x) / 32) {
    bits = reinterpret_cast<uint32_t*>(shared);
    first = reinterpret_cast<int32_t*>(bits + words * count);
    totals = first + count;
    before = reinterpret_cast<uint16_t*>(totals + count + 1);
  }

  static constexpr int32_t bytes(int32_t experts, int32_t threads) {
    return experts * (threads / 32 * 6 + 8) + 4;
  }
};

/** The slots of one token: calls `use` with each slot and its local expert, -1 for none. */
template <class Use>
__device__ __forceinline__ void for_each_slot(const Routing& routing, int64_t token, Use&& use) {
  constexpr int kInFlight = 8;
  for (int32_t first = 0; first < routing.slots(); first += kInFlight) {
    int32_t expert[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) expert[i] = named_expert(routing, token, first + i);
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (first + i < routing.slots()) use(first + i, expert[i]);
    }
  }
}

/** Sets this thread's bits; true in bit s of the answer: slot s contributes. */
__device__ uint64_t mark(const Routing& routing, const Bitmaps& maps, int64_t token) {
  for (auto i = static_cast<int32_t>(threadIdx.x); i < maps.words * maps.experts;
       i += static_cast<int32_t>(blockDim.x)) {
    maps.bits[i] = 0;
  }
  __syncthreads();
  uint64_t contributes = 0;
  if (token < routing.tokens) {
    const uint32_t bit = 1u << (threadIdx.x % 32);
    uint32_t* word = maps.bits + threadIdx.x / 32 * maps.experts;
    for_each_slot(routing, token, [&](int32_t slot, int32_t expert) {
      if (expert >= 0 && (atomicOr(word + expert, bit) & bit) == 0) {
        contributes |= uint64_t{1} << slot;
      }
    });
  }
  __syncthreads();
  return contributes;
}

__global__ void __launch_bounds__(kMaxThreads, 1)
    permute_count(const Routing routing, int32_t* chunk_counts) {
  extern __shared__ __align__(16) uint8_t shared[];
  const Bitmaps maps(shared, routing.experts());
  grid_dependency_wait();
  grid_dependency_launch();
  mark(routing, maps, static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
  for (auto e = static_cast<int32_t>(threadIdx.x); e < maps.experts;
       e += static_cast<int32_t>(blockDim.x)) {
    int32_t count = 0;
    for (int w = 0; w < maps.words; ++w) count += __popc(maps.bits[w * maps.experts + e]);
    chunk_counts[static_cast<int64_t>(blockIdx.x) * maps.experts + e] = count;
  }
}

/** `chunk_counts` is that of permute_count(), or NULL if there is only one block. */
__global__ void __launch_bounds__(kMaxThreads, 1)
    permute_scatter(const Routing routing, const int32_t* chunk_counts, const Permutation out) {
  extern __shared__ __align__(16) uint8_t shared[];
  const Bitmaps maps(shared, routing.experts());
  grid_dependency_wait();
  grid_dependency_launch();
  const int64_t token = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const uint64_t contributes = mark(routing, maps, token);

  for (auto e = static_cast<int32_t>(threadIdx.x); e < maps.experts;
       e += static_cast<int32_t>(blockDim.x)) {
    int32_t count = 0;
    for (int w = 0; w < maps.words; ++w) {
      maps.before[w * maps.experts + e] = static_cast<uint16_t>(count);
      count += __popc(maps.bits[w * maps.experts + e]);
    }
    maps.first[e] = 0;
    maps.totals[e] = count;
    if (chunk_counts != nullptr) {
      int32_t below = 0;
      int32_t total = 0;
#pragma unroll 8
      for (uint32_t chunk = 0; chunk < gridDim.x; ++chunk) {
        const int32_t there = chunk_counts[static_cast<int64_t>(chunk) * maps.experts + e];
        if (chunk < blockIdx.x) below += there;
        total += there;
      }
      maps.first[e] = below;
      maps.totals[e] = total;
    }
  }
  exclusive_scan(maps.totals, maps.experts);
  if (blockIdx.x == 0) {
    for (auto e = static_cast<int32_t>(threadIdx.x); e <= maps.experts;
         e += static_cast<int32_t>(blockDim.x)) {
      out.offsets[e] = maps.totals[e];
    }
    if (threadIdx.x < kTileCounters) out.next_tiles[threadIdx.x] = 0;
  }
  if (token >= routing.tokens) return;
  const uint32_t word = threadIdx.x / 32 * static_cast<uint32_t>(maps.experts);
  const uint32_t lower = (1u << (threadIdx.x % 32)) - 1;
  for_each_slot(routing, token, [&](int32_t slot, int32_t expert) {
    const int64_t pair = token * routing.slots() + slot;
    if ((contributes >> slot & 1) == 0) {
      out.pair_row[pair] = -1;
      return;
    }
    const int32_t begin = maps.totals[expert];
    const int32_t row = begin + maps.first[expert] + maps.before[word + expert] +
                        __popc(maps.bits[word + expert] & lower);
    out.row_token[row] = static_cast<int32_t>(token);
    out.row_pair[row] = static_cast<int32_t>(pair);
    out.row_storage[row] = storage_begin(begin, expert) + row - begin;
    out.pair_row[pair] = row;
  });
}

constexpr int kClearThreads = 256;

__global__ void __launch_bounds__(kClearThreads) clear(int32_t* counters, int32_t count) {
  grid_dependency_wait();
  for (auto i = static_cast<int32_t>(threadIdx.x); i < count; i += kClearThreads) counters[i] = 0;
  __threadfence();  // the next kernel uses them before it waits
  __syncthreads();
  grid_dependency_launch();
}

}  // namespace

Status kernel_architecture(int32_t* architecture) {
  cudaFuncAttributes attributes;
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaFuncGetAttributes(&attributes, permute_scatter),
                                    "looking for kernels of the device"));
  *architecture = attributes.ptxVersion;
  return Status::ok();
}

Status prepare_permute(int32_t* max_experts) {
  *max_experts = kMaxExperts + kMaxTopK;
  for (const void* kernel : {reinterpret_cast<const void*>(permute_count),
                             reinterpret_cast<const void*>(permute_scatter)}) {
    int32_t granted = 0;
    MOE4J_RETURN_IF_ERROR(
        allow_shared_memory(kernel, Bitmaps::bytes(*max_experts, kMaxThreads), &granted));
    while (Bitmaps::bytes(*max_experts, kMaxThreads) > granted) --*max_experts;
  }
  return Status::ok();
}

int32_t permute_chunks(int64_t tokens) { return ceil_div(tokens, chunk_tokens(tokens)); }

void launch_clear(Chain& chain, int32_t* counters, int32_t count) {
  chain.launch("clear", clear, dim3(1), kClearThreads, 0, counters, count);
}

void launch_permute(Chain& chain, const Routing& routing, int32_t* chunk_counts,
                    const Permutation& permutation) {
  const int threads = chunk_tokens(routing.tokens);
  const dim3 grid(static_cast<unsigned>(permute_chunks(routing.tokens)));
  const int32_t shared_bytes = Bitmaps::bytes(routing.experts(), threads);
  const bool counts = grid.x > 1;
  if (counts) {
    chain.launch("permute_count", permute_count, grid, threads, shared_bytes, routing,
                 chunk_counts);
  }
  chain.launch("permute_scatter", permute_scatter, grid, threads, shared_bytes, routing,
               counts ? chunk_counts : nullptr, permutation);
}

}  // namespace moe4j::cuda
