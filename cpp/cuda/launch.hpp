// The kernels of a launch, collected before they are queued (launch_graphs.hpp).
#pragma once

#include <cuda_runtime_api.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cuda/cuda_status.hpp"

namespace moe4j::cuda {

/** A kernel with all that its launch needs. */
struct KernelLaunch {
  static constexpr int kMostArguments = 4;
  static constexpr size_t kMostBytes = 1024;

  const char* name;  // for messages
  const void* kernel;
  dim3 grid;
  int cluster;  // blocks of a cluster, 1 for none
  int threads;
  int shared_bytes;
  void* arguments[kMostArguments];  // point into `values`
  alignas(16) std::byte values[kMostBytes];
};

/** The kernels of one launch, in order. Not copied: kernels hold pointers to themselves. */
class Chain {
 public:
  /** Routing, permutation (2), tokens, GEMMs (2 kernels each), h, finalize, export: 11. */
  static constexpr int kMostKernels = 12;

  Chain() = default;
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  template <class... Parameters, class... Arguments>
  void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, int threads,
              int shared_bytes, Arguments&&... arguments) {
    launch_clusters(name, kernel, grid, 1, threads, shared_bytes, arguments...);
  }

  /** The same in clusters of `cluster` blocks (Hopper). */
  template <class... Parameters, class... Arguments>
  void launch_clusters(const char* name, void (*kernel)(Parameters...), dim3 grid, int cluster,
                       int threads, int shared_bytes, Arguments&&... arguments) {
    using Values = std::tuple<std::decay_t<Parameters>...>;
    static_assert(sizeof...(Parameters) <= KernelLaunch::kMostArguments);
    static_assert(sizeof(Values) <= KernelLaunch::kMostBytes && alignof(Values) <= 16);
    static_assert((std::is_trivially_copyable_v<std::decay_t<Parameters>> && ...));
    assert(size_ < kMostKernels);
    KernelLaunch& launch = kernels_[size_++];
    launch.name = name;
    launch.kernel = reinterpret_cast<const void*>(kernel);
    launch.grid = grid;
    launch.cluster = cluster;
    launch.threads = threads;
    launch.shared_bytes = shared_bytes;
    std::apply(
        [&](auto&... value) {
          int i = 0;
          ((launch.arguments[i++] = &value), ...);
        },
        *new (launch.values) Values(arguments...));
  }

  int size() const { return size_; }
  KernelLaunch& operator[](int i) { return kernels_[i]; }

 private:
  int size_ = 0;
  KernelLaunch kernels_[kMostKernels];
};

/** A stream on which kernels are launched one by one. The first error sticks. */
class CheckedStream {
 public:
  explicit CheckedStream(cudaStream_t stream) : stream_(stream) {}

  cudaStream_t get() const { return stream_; }

  /** Called after each kernel. */
  void check(const char* name) {
    if (error_ != cudaSuccess) return;
    error_ = cudaGetLastError();
    name_ = name;
  }

  Status status() const { return cuda_status(error_, name_); }

 private:
  cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
  const char* name_ = "";
};

}  // namespace moe4j::cuda
