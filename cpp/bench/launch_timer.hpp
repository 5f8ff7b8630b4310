// How long a launch takes, by the clock of its device.
#pragma once

#include <chrono>

#include "moe4j/moe4j.hpp"

namespace moe4j::bench {

class LaunchTimer {
 public:
  explicit LaunchTimer(const Device& device) : device_(device) {}

  /** Seconds from the call until the work is done. */
  double time(const Layer& layer, const moe4j_launch_args& args) const {
    const auto begin = std::chrono::steady_clock::now();
    layer.launch(args);
    device_.synchronize(args.stream);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  Device device_;
};

}  // namespace moe4j::bench
