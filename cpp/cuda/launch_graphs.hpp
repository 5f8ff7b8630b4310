// Queues chains of kernels as CUDA graphs: one call of the driver instead of one a kernel.
//
// A kernel's launch costs the calling thread 3 us, a graph of any length 1 us and 0.3 us for each
// kernel whose arguments are set. What a chain's kernels are depends on the tactic and on little
// else, so that a few graphs serve all layers of a device.
//
// A graph runs once at a time, hence one for each stream. There are kMostGraphs at most; then the
// least recently used one serves the next stream of its kind of chains, or makes room for another
// kind if it is idle: making one takes 0.1 ms, as long as many launches. If it is busy, the streams
// of a kind hand its graphs round, and wait for each other; a kind without any goes without.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/launch.hpp"

namespace moe4j::cuda {

/** The graphs of one device. Thread-safe. */
class LaunchGraphs {
 public:
  static constexpr size_t kMostGraphs = 64;  // about 130 KB of the device's memory each
  /** A graph is idle that was not used for so many launches. */
  static constexpr uint64_t kIdleLaunches = 1024;

  /**
   * `dependent`: each kernel but a chain's first waits for its predecessor itself and may start
   * while that drains (Hopper and later).
   */
  explicit LaunchGraphs(bool dependent);
  /** The device is current. */
  ~LaunchGraphs();
  LaunchGraphs(const LaunchGraphs&) = delete;
  LaunchGraphs& operator=(const LaunchGraphs&) = delete;

  /**
   * Queues the chain's kernels on the stream, without waiting for it. A stream that is being
   * captured gets the kernels one by one, as does every stream where there is no graph to be had.
   */
  Status launch(cudaStream_t stream, Chain& chain) noexcept;

  /** How many graphs there are. */
  size_t size() const;

 private:
  struct Graph;

  /** NULL where there is none to be had. */
  std::shared_ptr<Graph> graph_for(cudaStream_t stream, Chain& chain);

  const bool dependent_;
  mutable std::mutex mutex_;  // of all below
  std::vector<std::shared_ptr<Graph>> graphs_;
  uint64_t launches_ = 0;
};

}  // namespace moe4j::cuda
