// Timing on a CUDA device: work captured in a graph, replayed with a cold L2, timed by events.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "bench/ceilings.hpp"

namespace moe4j::bench {

class CudaClock {
 public:
  explicit CudaClock(int32_t device);
  ~CudaClock();

  /**
   * Seconds that one replay takes of what `enqueue` queues on the stream it is given; an earlier
   * replay has loaded everything. Before each replay the L2 is filled with other data, by reading,
   * so that nothing is left to write back.
   */
  double time(const std::function<void(void* stream)>& enqueue);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/** Copy bandwidth (bytes read and written) and dense BF16 rate of a device, by its own kernels. */
Ceilings measure_cuda_ceilings(int32_t device);

}  // namespace moe4j::bench
