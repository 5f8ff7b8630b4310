#include "bench/cuda_clock.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace moe4j::bench {
namespace {

constexpr size_t kFlushBytes = size_t{256} << 20;
constexpr size_t kCopyBytes = size_t{1} << 30;

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
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

}  // namespace

struct CudaClock::State {
  cudaStream_t stream;
  cudaEvent_t begin, end;
  void* flush;
  uint32_t* sum;
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

CudaClock::~CudaClock() {
  cudaFree(state_->sum);
  cudaFree(state_->flush);
  cudaEventDestroy(state_->end);
  cudaEventDestroy(state_->begin);
  cudaStreamDestroy(state_->stream);
}

double CudaClock::median_us(int32_t replays, const std::function<void(void*)>& enqueue) {
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  check(cudaStreamBeginCapture(state_->stream, cudaStreamCaptureModeThreadLocal));
  enqueue(state_->stream);
  check(cudaStreamEndCapture(state_->stream, &graph));
  check(cudaGraphInstantiate(&executable, graph, 0));
  std::vector<float> times;
  constexpr int32_t kWarmUps = 3;
  for (int32_t i = 0; i < kWarmUps + replays; ++i) {
    read_all<<<1024, 256, 0, state_->stream>>>(static_cast<const uint4*>(state_->flush),
                                               kFlushBytes / sizeof(uint4), state_->sum);
    check(cudaEventRecord(state_->begin, state_->stream));
    check(cudaGraphLaunch(executable, state_->stream));
    check(cudaEventRecord(state_->end, state_->stream));
    check(cudaEventSynchronize(state_->end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, state_->begin, state_->end));
    if (i >= kWarmUps) times.push_back(milliseconds);
  }
  check(cudaGraphExecDestroy(executable));
  check(cudaGraphDestroy(graph));
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return 1e3 * times[times.size() / 2];
}

double CudaClock::copy_gb_s() {
  void* from;
  void* to;
  check(cudaMalloc(&from, kCopyBytes));
  check(cudaMalloc(&to, kCopyBytes));
  const double us = median_us(10, [&](void* stream) {
    check(cudaMemcpyAsync(to, from, kCopyBytes, cudaMemcpyDeviceToDevice,
                          static_cast<cudaStream_t>(stream)));
  });
  check(cudaFree(from));
  check(cudaFree(to));
  return 2.0 * kCopyBytes / us * 1e-3;
}

}  // namespace moe4j::bench
