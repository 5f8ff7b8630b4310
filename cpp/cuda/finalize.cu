// The weighted sum over a token's experts, in slot order.
#include <type_traits>

#include "cuda/bf16.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"
#include "support/limits.hpp"

namespace moe4j::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWide = 8;      // elements of a 16-byte load
constexpr int kInFlight = 8;  // rows whose loads overlap
constexpr int kMaxSlots = 2 * kMaxTopK;
constexpr int kGroup = 4;              // tokens a block, ...
constexpr int64_t kManyTokens = 1024;  // ... where all multiprocessors have several blocks anyway

/** kElements adjacent BF16, as they lie in memory. */
template <int kElements>
struct Elements {
  using Bits = std::conditional_t<kElements == kWide, uint4, uint16_t>;
  Bits bits;

  __device__ __forceinline__ void load(const uint16_t* source) {
    if constexpr (kElements == kWide) {
      bits = load_once_16(source);
    } else {
      bits = *source;
    }
  }

  __device__ __forceinline__ void add_to(float (&sum)[kElements], float weight) const {
    if constexpr (kElements == kWide) {
      const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum[2 * i] += weight * lower_bf16(words[i]);
        sum[2 * i + 1] += weight * upper_bf16(words[i]);
      }
    } else {
      sum[0] += weight * lower_bf16(bits);
    }
  }
};

/** kElements adjacent features of one token, `out` their place in the output. */
template <int kElements>
__device__ __forceinline__ void add_rows(const Finalize& args, int64_t out, int32_t feature,
                                         const int32_t* rows, const float* weights) {
  const int32_t slots = args.routing.slots();
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
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(args.output) + out) = round_bf16_chunk(sum);
  } else {
    static_cast<uint16_t*>(args.output)[out] = round_bf16(sum[0]);
  }
}

/**
 * Block = kThreads * kElements features of `group` tokens one after another; blocks of the same
 * tokens follow one another.
 */
template <int kElements>
__global__ void __launch_bounds__(kThreads)
    finalize(const Finalize args, int32_t feature_blocks, int32_t group) {
  __shared__ int32_t rows[kGroup * kMaxSlots];
  __shared__ float weights[kGroup * kMaxSlots];
  const int64_t first_token = int64_t{blockIdx.x / static_cast<unsigned>(feature_blocks)} * group;
  const int32_t feature_block =
      static_cast<int32_t>(blockIdx.x % static_cast<unsigned>(feature_blocks));
  const int32_t slots = args.routing.slots();
  const auto tokens = static_cast<int32_t>(min(int64_t{group}, args.routing.tokens - first_token));
  // The routing is older than the kernel right before this one; the permutation was written before
  // that one let this one start, but perhaps after this multiprocessor's L1 had seen the place.
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < tokens * slots; i += kThreads) {
    rows[i] = __ldcg(args.pair_row + first_token * slots + i);
    weights[i] = slot_weight(args.routing, first_token + i / slots, i % slots);
  }
  __syncthreads();
  grid_dependency_wait();
  grid_dependency_launch();

  const int32_t feature =
      (feature_block * kThreads + static_cast<int32_t>(threadIdx.x)) * kElements;
  if (feature >= args.hidden) return;
#pragma unroll 1
  for (int32_t t = 0; t < tokens; ++t) {
    add_rows<kElements>(args, (first_token + t) * args.hidden + feature, feature, rows + t * slots,
                        weights + t * slots);
  }
}

bool is_aligned_16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

void launch_finalize(Chain& chain, const Finalize& args) {
  const bool wide = args.hidden % kWide == 0 && (args.output_f32 || is_aligned_16(args.output));
  const int elements = wide ? kWide : 1;
  const int32_t feature_blocks = ceil_div(args.hidden, kThreads * elements);
  const int32_t group = args.routing.tokens >= kManyTokens ? kGroup : 1;
  const dim3 grid(static_cast<unsigned>(ceil_div(args.routing.tokens, group) * feature_blocks));
  chain.launch("finalize", wide ? finalize<kWide> : finalize<1>, grid, kThreads, 0, args,
               feature_blocks, group);
}

}  // namespace moe4j::cuda
