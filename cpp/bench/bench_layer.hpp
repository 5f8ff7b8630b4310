// A layer with random weights, and launches of it with everything in device memory.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/layers.hpp"
#include "moe4j/moe4j.hpp"

namespace moe4j::bench {

struct PreparedLayer {
  Layer layer;
  double seconds;  // in moe4j_layer_set_expert()
};

/** Random codes, finite random scales near 1 / sqrt(K), so that activations keep their size. */
PreparedLayer make_layer(const Device& device, const LayerCase& layer_case,
                         int32_t activation_format);

/** One launch: routing as ids and weights and as logits, BF16 hidden states and output. */
class BenchLaunch {
 public:
  BenchLaunch(const Device& device, const LayerCase& layer_case, const std::vector<int32_t>& ids,
              int64_t tokens, uint64_t seed);

  /** With a tactic and a workspace for it. */
  moe4j_launch_args args(int32_t tactic, const Buffer& workspace, bool from_logits) const;

  int64_t active_experts() const { return active_experts_; }

 private:
  int64_t tokens_;
  int64_t active_experts_;
  Buffer ids_;
  Buffer weights_;
  Buffer logits_;
  Buffer hidden_states_;
  Buffer output_;
};

}  // namespace moe4j::bench
