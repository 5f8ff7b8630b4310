// Timing on a CUDA device: work captured once in a graph, replayed with a cold L2, timed by events.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace moe4j::bench {

class CudaClock {
 public:
  explicit CudaClock(int32_t device);
  ~CudaClock();

  /**
   * The median over `replays` of what `enqueue` queues on the stream it is given, in microseconds.
   * Before each replay the L2 is filled with other data, by reading, so that nothing is left to
   * write back.
   */
  double median_us(int32_t replays, const std::function<void(void* stream)>& enqueue);

  /** Bytes read and written a second by a large copy on the device, in GB/s. */
  double copy_gb_s();

  /** Dense BF16 matrix rate, in TFLOP/s: wgmma (Hopper) on random data, both operands on chip. */
  double matrix_tflop_s();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moe4j::bench
