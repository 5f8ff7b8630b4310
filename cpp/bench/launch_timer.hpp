// How long a launch takes, by the clock of its device.
#pragma once

#include <chrono>
#include <memory>

#if defined(MOE4J_BENCH_CUDA)
#include "bench/cuda_clock.hpp"
#endif
#include "bench/ceilings.hpp"
#include "moe4j/moe4j.hpp"

namespace moe4j::bench {

class LaunchTimer {
 public:
  explicit LaunchTimer(const Device& device) : device_(device) {
#if defined(MOE4J_BENCH_CUDA)
    const moe4j_device_info info = device.info();
    if (info.kind == MOE4J_CUDA) cuda_ = std::make_unique<CudaClock>(info.index);
#endif
  }

  /** Seconds of a launch: on the CPU until the call returns, on CUDA in a graph with a cold L2. */
  double time(const Layer& layer, moe4j_launch_args args) const {
#if defined(MOE4J_BENCH_CUDA)
    if (cuda_ != nullptr) {
      return cuda_->time([&](void* stream) {
        args.stream = stream;
        layer.launch(args);
      });
    }
#endif
    const auto begin = std::chrono::steady_clock::now();
    layer.launch(args);
    device_.synchronize(args.stream);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  Device device_;
#if defined(MOE4J_BENCH_CUDA)
  std::unique_ptr<CudaClock> cuda_;
#endif
};

/** The ceilings of a device, whatever it is. */
inline Ceilings measure_ceilings(const moe4j_device_info& info) {
#if defined(MOE4J_BENCH_CUDA)
  if (info.kind == MOE4J_CUDA) return measure_cuda_ceilings(info.index);
#endif
  return measure_cpu_ceilings(info);
}

}  // namespace moe4j::bench
