// Chains of kernels as graphs: right, and few, whatever the streams, kinds and threads.
#include <cuda_runtime_api.h>

#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "cuda/cuda_stream.hpp"
#include "cuda/launch_graphs.hpp"
#include "cuda/ptx/grid_dependency.cuh"

namespace moe4j::cuda {
namespace {

using test::check;

constexpr int kKernels = 4;
constexpr int kLength = 4;
constexpr int kKinds = 256;  // of chains: kKernels ^ kLength

/** Takes a while, so that chains are still running when others take their graphs. */
template <int kKernel>
__global__ void step(uint32_t* state, uint32_t argument) {
  grid_dependency_wait();
  grid_dependency_launch();
  for (const long long begin = clock64(); clock64() - begin < 5000;) {
  }
  *state = *state * 31 + argument * kKernels + kKernel;
}

/** A stream with a number on the device on which each launch leaves its mark. */
class Work {
 public:
  Work() {
    check(cudaMalloc(&state_, sizeof(*state_)));
    check(cudaMemset(state_, 0, sizeof(*state_)));
    check(cudaStreamSynchronize(nullptr));
  }
  ~Work() { cudaFree(state_); }
  Work(const Work&) = delete;

  void launch(LaunchGraphs& graphs, int kind) {
    void (*const kernels[kKernels])(uint32_t*, uint32_t) = {step<0>, step<1>, step<2>, step<3>};
    Chain chain;
    for (int i = 0; i < kLength; ++i, kind /= kKernels) {
      const uint32_t argument = ++launched_;
      chain.launch("step", kernels[kind % kKernels], dim3(1), 1, 0, state_, argument);
      expected_ = expected_ * 31 + argument * kKernels + static_cast<uint32_t>(kind % kKernels);
    }
    const Status status = graphs.launch(stream_.get(), chain);
    EXPECT_TRUE(status.is_ok()) << status.message();
  }

  void expect_all_done() const {
    uint32_t state = 0;
    check(cudaStreamSynchronize(stream_.get()));
    check(cudaMemcpy(&state, state_, sizeof(state), cudaMemcpyDeviceToHost));
    EXPECT_EQ(state, expected_);
  }

 private:
  test::Stream stream_;
  uint32_t* state_ = nullptr;
  uint32_t expected_ = 0;
  uint32_t launched_ = 0;
};

class LaunchGraphsTest : public testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
      GTEST_SKIP() << "NOT TESTED: found no CUDA device";
    }
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, step<0>));
    graphs_ = std::make_unique<LaunchGraphs>(attributes.ptxVersion >= 90);
  }

  std::unique_ptr<LaunchGraphs> graphs_;
};

TEST_F(LaunchGraphsTest, MoreStreamsThanGraphs) {
  Work works[2 * LaunchGraphs::kMostGraphs];
  for (int round = 0; round < 10; ++round) {
    for (Work& work : works) work.launch(*graphs_, round % 2);
  }
  for (const Work& work : works) work.expect_all_done();
  EXPECT_EQ(graphs_->size(), LaunchGraphs::kMostGraphs);
}

/** First none is idle, then all but one are. */
TEST_F(LaunchGraphsTest, MoreKindsThanGraphs) {
  Work work;
  for (int round = 0; round < 3; ++round) {
    for (int kind = 0; kind < kKinds; ++kind) work.launch(*graphs_, kind);
    EXPECT_EQ(graphs_->size(), LaunchGraphs::kMostGraphs);
    for (uint64_t i = 0; i <= LaunchGraphs::kIdleLaunches; ++i) work.launch(*graphs_, round);
  }
  for (int kind = kKinds; kind-- > 0;) work.launch(*graphs_, kind);
  work.expect_all_done();
  EXPECT_EQ(graphs_->size(), LaunchGraphs::kMostGraphs);
}

TEST_F(LaunchGraphsTest, ThreadsTakeEachOthersGraphs) {
  constexpr int kThreads = 8;
  constexpr int kStreams = 3;  // of a thread
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      Work works[kStreams];
      for (int i = 0; i < 2000; ++i) {
        works[random() % kStreams].launch(*graphs_, static_cast<int>(random() % kKinds));
      }
      for (const Work& work : works) work.expect_all_done();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(graphs_->size(), LaunchGraphs::kMostGraphs);
}

}  // namespace
}  // namespace moe4j::cuda
