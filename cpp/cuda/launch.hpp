// Launching kernels as a chain: each but the first may start while its predecessor drains.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <tuple>
#include <type_traits>

#include "support/message.hpp"
#include "support/status.hpp"

namespace moe4j::cuda {

inline Status cuda_status(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return Status::ok();
  return failure(error == cudaErrorMemoryAllocation ? MOE4J_OUT_OF_MEMORY : MOE4J_DEVICE_ERROR,
                 "CUDA: %s failed: %s", doing, cudaGetErrorString(error));
}

/** The kernels of one launch, in stream order. The first error sticks, later calls do nothing. */
class Chain {
 public:
  /** `dependent_launch`: the kernels wait for their predecessors themselves (Hopper and later). */
  explicit Chain(cudaStream_t stream, bool dependent_launch = false)
      : stream_(stream), dependent_launch_(dependent_launch) {}

  template <class... Parameters, class... Arguments>
  void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, int threads,
              int shared_bytes, Arguments&&... arguments) {
    launch_clusters(name, kernel, grid, 1, threads, shared_bytes, arguments...);
  }

  /** The same in clusters of `cluster` blocks (Hopper). */
  template <class... Parameters, class... Arguments>
  void launch_clusters(const char* name, void (*kernel)(Parameters...), dim3 grid, int cluster,
                       int threads, int shared_bytes, Arguments&&... arguments) {
    if (error_ != cudaSuccess) return;
    cudaLaunchAttribute attributes[2];
    unsigned count = 0;
    if (!first_ && dependent_launch_) {
      attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attributes[count++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster > 1) {
      attributes[count].id = cudaLaunchAttributeClusterDimension;
      attributes[count++].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
    config.stream = stream_;
    config.attrs = attributes;
    config.numAttrs = count;
    std::tuple<std::decay_t<Parameters>...> values(arguments...);
    error_ = std::apply(
        [&](auto&... value) {
          void* pointers[] = {&value...};
          return cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers);
        },
        values);
    if (error_ != cudaSuccess) name_ = name;
    first_ = false;
  }

  /** For kernels launched by other means on stream(). */
  void check(const char* name) {
    if (error_ != cudaSuccess) return;
    error_ = cudaGetLastError();
    name_ = name;
  }

  cudaStream_t stream() const { return stream_; }
  Status status() const { return cuda_status(error_, name_); }

 private:
  cudaStream_t stream_;
  bool dependent_launch_;
  cudaError_t error_ = cudaSuccess;
  const char* name_ = "";
  bool first_ = true;
};

}  // namespace moe4j::cuda
