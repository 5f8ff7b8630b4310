#include "bench/cuda_clock.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace moe4j::bench {
namespace {

constexpr size_t kFlushBytes = size_t{256} << 20;
constexpr size_t kCopyBytes = size_t{1} << 30;
constexpr int kMatrixSteps = 4096;  // of 64 x 256 x 64 a warpgroup

void check(cudaError_t error) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

/** Reads everything; the sum keeps the compiler honest. */
__global__ void read_all(const uint4* data, size_t count, uint32_t* sum) {
  uint32_t mine = 0;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    const uint4 v = data[i];
    mine += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (mine == 0x12345678) *sum = mine;
}

/** Each block copies 16 KB: four 16-byte loads in flight a thread. */
__global__ void __launch_bounds__(256) copy_all(const uint4* from, uint4* to) {
  const size_t first = blockIdx.x * size_t{1024} + threadIdx.x;
  uint4 v[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = from[first + i * 256];
#pragma unroll
  for (int i = 0; i < 4; ++i) to[first + i * 256] = v[i];
}

/** Two warpgroups a multiprocessor, A in registers and B in shared memory, both random. */
__global__ void __launch_bounds__(256, 1) multiply_all(float* result) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __shared__ __align__(1024) uint32_t b[256 * 32];
  uint32_t state = threadIdx.x * 2654435761u + 12345u;
  const auto random = [&state] {  // two BF16 between 0.5 and 2 with random signs
    state = state * 1664525u + 1013904223u;
    return (state & 0x80FF80FFu) | 0x3F003F00u;
  };
  for (uint32_t i = threadIdx.x; i < 256 * 32; i += 256) b[i] = random();
  uint32_t a[4][4];
  for (auto& fragment : a) {
    for (uint32_t& word : fragment) word = random();
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  float d[128] = {};
  const uint64_t descriptor = cuda::wgmma_descriptor(cuda::shared_address(b));
#pragma unroll 1
  for (int step = 0; step < kMatrixSteps; ++step) {
    cuda::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      cuda::wgmma_m64k16<256>(d, a[k], descriptor + cuda::wgmma_offset(32 * k));
    }
    cuda::wgmma_commit();
    cuda::wgmma_wait<0>();
  }
  cuda::wgmma_pin<128>(d);
  float sum = 0;
  for (const float value : d) sum += value;
  if (sum == 0.5f) *result = sum;
#endif
}

}  // namespace

struct CudaClock::State {
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  void* flush = nullptr;
  uint32_t* sum = nullptr;

  /** What was made by then, where the clock's constructor throws. */
  ~State() {
    cudaFree(sum);
    cudaFree(flush);
    if (end != nullptr) cudaEventDestroy(end);
    if (begin != nullptr) cudaEventDestroy(begin);
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
};

CudaClock::CudaClock(int32_t device) : state_(new State) {
  check(cudaSetDevice(device));
  check(cudaStreamCreateWithFlags(&state_->stream, cudaStreamNonBlocking));
  check(cudaEventCreate(&state_->begin));
  check(cudaEventCreate(&state_->end));
  check(cudaMalloc(&state_->flush, kFlushBytes));
  check(cudaMemset(state_->flush, 1, kFlushBytes));
  check(cudaMalloc(reinterpret_cast<void**>(&state_->sum), sizeof(uint32_t)));
}

CudaClock::~CudaClock() = default;

double CudaClock::time(const std::function<void(void*)>& enqueue) {
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  check(cudaStreamBeginCapture(state_->stream, cudaStreamCaptureModeThreadLocal));
  enqueue(state_->stream);
  check(cudaStreamEndCapture(state_->stream, &graph));
  check(cudaGraphInstantiate(&executable, graph, 0));
  float milliseconds = 0;
  for (int replay = 0; replay < 2; ++replay) {
    read_all<<<1024, 256, 0, state_->stream>>>(static_cast<const uint4*>(state_->flush),
                                               kFlushBytes / sizeof(uint4), state_->sum);
    check(cudaEventRecord(state_->begin, state_->stream));
    check(cudaGraphLaunch(executable, state_->stream));
    check(cudaEventRecord(state_->end, state_->stream));
    check(cudaEventSynchronize(state_->end));
    check(cudaEventElapsedTime(&milliseconds, state_->begin, state_->end));
  }
  check(cudaGraphExecDestroy(executable));
  check(cudaGraphDestroy(graph));
  return 1e-3 * static_cast<double>(milliseconds);
}

Ceilings measure_cuda_ceilings(int32_t device) {
  CudaClock clock(device);
  void* from;
  void* to;
  check(cudaMalloc(&from, kCopyBytes));
  check(cudaMalloc(&to, kCopyBytes));
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  double copy = 1e9;
  double multiply = 1e9;
  for (int run = 0; run < 5; ++run) {
    copy = std::min(copy, clock.time([&](void* stream) {
      copy_all<<<kCopyBytes / (16 * 1024), 256, 0, static_cast<cudaStream_t>(stream)>>>(
          static_cast<const uint4*>(from), static_cast<uint4*>(to));
    }));
    multiply = std::min(multiply, clock.time([&](void* stream) {
      multiply_all<<<static_cast<unsigned>(multiprocessors), 256, 0,
                     static_cast<cudaStream_t>(stream)>>>(static_cast<float*>(to));
    }));
  }
  check(cudaGetLastError());
  check(cudaFree(from));
  check(cudaFree(to));
  const double flops = 2.0 * multiprocessors * 2 * kMatrixSteps * 64 * 256 * 64;
  return {2.0 * kCopyBytes / copy, {{"wgmma", false, flops / multiply}}};
}

}  // namespace moe4j::bench
