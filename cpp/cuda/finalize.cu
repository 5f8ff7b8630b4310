// The weighted sum over a token's experts, in slot order.
#include <cuda_bf16.h>

#include "cuda/gemm/epilogue.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWide = 8;      // elements of a 16-byte load
constexpr int kInFlight = 8;  // rows whose loads overlap

template <int kElements>
struct Elements {
  float v[kElements];
};

template <int kElements>
__device__ __forceinline__ Elements<kElements> load_elements(const uint16_t* source) {
  Elements<kElements> e;
  if constexpr (kElements == kWide) {
    const uint4 bits = *reinterpret_cast<const uint4*>(source);
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      e.v[2 * i] = __uint_as_float(words[i] << 16);
      e.v[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
    }
  } else {
    e.v[0] = load_bf16(source);
  }
  return e;
}

/** Thread = kElements adjacent features of one token. */
template <int kElements>
__global__ void __launch_bounds__(kThreads) finalize(const Finalize args) {
  __shared__ int32_t rows[kThreads];
  __shared__ float weights[kThreads];
  const int64_t token = blockIdx.x;
  const int32_t slots = args.routing.slots();
  grid_dependency_wait();
  grid_dependency_launch();
  for (int32_t s = static_cast<int32_t>(threadIdx.x); s < slots; s += kThreads) {
    rows[s] = args.pair_row[token * slots + s];
    weights[s] = slot_weight(args.routing, token, s);
  }
  __syncthreads();

  const int32_t feature =
      (static_cast<int32_t>(blockIdx.y) * kThreads + static_cast<int32_t>(threadIdx.x)) * kElements;
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
        y[s] = load_elements<kElements>(
            args.rows + static_cast<int64_t>(rows[first + s]) * args.hidden + feature);
      }
    }
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
      if (first + s < slots && rows[first + s] >= 0) {
#pragma unroll
        for (int i = 0; i < kElements; ++i) sum[i] += weights[first + s] * y[s].v[i];
      }
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
  const dim3 grid(static_cast<unsigned>(args.routing.tokens),
                  static_cast<unsigned>(ceil_div(args.hidden, kThreads * elements)));
  chain.launch("finalize", wide ? finalize<kWide> : finalize<1>, grid, kThreads, 0, args);
}

}  // namespace moe4j::cuda
