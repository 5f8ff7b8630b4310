// The weighted sum over a token's experts, in slot order.
#include <cuda_bf16.h>

#include <type_traits>

#include "cuda/gemm/epilogue.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWide = 8;      // elements of a 16-byte load
constexpr int kInFlight = 8;  // rows whose loads overlap

/** kElements adjacent BF16, as they lie in memory. */
template <int kElements>
struct Elements {
  using Bits = std::conditional_t<kElements == kWide, uint4, uint16_t>;
  Bits bits;

  __device__ __forceinline__ void load(const uint16_t* source) {
    bits = *reinterpret_cast<const Bits*>(source);
  }

  __device__ __forceinline__ void add_to(float (&sum)[kElements], float weight) const {
    if constexpr (kElements == kWide) {
      const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum[2 * i] += weight * __uint_as_float(words[i] << 16);
        sum[2 * i + 1] += weight * __uint_as_float(words[i] & 0xFFFF0000u);
      }
    } else {
      sum[0] += weight * __uint_as_float(static_cast<uint32_t>(bits) << 16);
    }
  }
};

/** Thread = kElements adjacent features of one token; blocks of a token follow one another. */
template <int kElements>
__global__ void __launch_bounds__(kThreads) finalize(const Finalize args, int32_t token_blocks) {
  __shared__ int32_t rows[kThreads];
  __shared__ float weights[kThreads];
  const int64_t token = blockIdx.x / static_cast<unsigned>(token_blocks);
  const int32_t block = static_cast<int32_t>(blockIdx.x % static_cast<unsigned>(token_blocks));
  const int32_t slots = args.routing.slots();
  // Routing and permutation are older than the kernel right before this one.
  for (int32_t s = static_cast<int32_t>(threadIdx.x); s < slots; s += kThreads) {
    rows[s] = args.pair_row[token * slots + s];
    weights[s] = slot_weight(args.routing, token, s);
  }
  __syncthreads();
  grid_dependency_wait();
  grid_dependency_launch();

  const int32_t feature = (block * kThreads + static_cast<int32_t>(threadIdx.x)) * kElements;
  if (feature >= args.hidden) return;
  const int64_t out = token * args.hidden + feature;
  float sum[kElements];
#pragma unroll
  for (int i = 0; i < kElements; ++i) {
    sum[i] = args.addend != nullptr ? args.addend[out + i] : 0.0f;
  }
  for (int32_t first = 0; first < slots; first += kInFlight) {
    Elements<kElements> y[kInFlight];
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
      if (first + s < slots && rows[first + s] >= 0) {
        y[s].load(args.rows + static_cast<int64_t>(rows[first + s]) * args.hidden + feature);
      }
    }
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
      if (first + s < slots && rows[first + s] >= 0) y[s].add_to(sum, weights[first + s]);
    }
  }
  if (args.output_f32) {
#pragma unroll
    for (int i = 0; i < kElements; ++i) static_cast<float*>(args.output)[out + i] = sum[i];
  } else if constexpr (kElements == kWide) {
    uint4 bits;
    uint32_t* words = &bits.x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      words[i] = round_bf16(sum[2 * i]) | static_cast<uint32_t>(round_bf16(sum[2 * i + 1])) << 16;
    }
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(args.output) + out) = bits;
  } else {
    static_cast<uint16_t*>(args.output)[out] = round_bf16(sum[0]);
  }
}

bool is_aligned_16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

void launch_finalize(Chain& chain, const Finalize& args) {
  const bool wide = args.hidden % kWide == 0 && (args.output_f32 || is_aligned_16(args.output));
  const int elements = wide ? kWide : 1;
  const int32_t token_blocks = ceil_div(args.hidden, kThreads * elements);
  const dim3 grid(static_cast<unsigned>(args.routing.tokens * token_blocks));
  chain.launch("finalize", wide ? finalize<kWide> : finalize<1>, grid, kThreads, 0, args,
               token_blocks);
}

}  // namespace moe4j::cuda
