// A layer's weights as kernels read them.
#pragma once

#include <cstdint>

#include "cpu/pages.hpp"
#include "cpu/panel_layout.hpp"
#include "moe4j/moe4j.h"
#include "support/status.hpp"
#include "support/thread_pool.hpp"

namespace moe4j {

/** What is constant about a layer's matrices. */
struct LayerShape {
  explicit LayerShape(const moe4j_layer_desc& desc) noexcept;

  bool gated;
  int64_t hidden_size;
  int64_t intermediate_size;
  int64_t panel_outputs;  // elements of h that a panel of GEMM1 makes: 16 if gated, otherwise 32
  int64_t gemm1_panels;   // of [2I, H] or [I, H]
  int64_t gemm2_panels;   // of [H, I]
  int64_t gemm1_panel_bytes;
  int64_t gemm2_panel_bytes;
  int64_t expert_bytes;  // all panels and biases of one expert
};

/** The numbers that belong to an expert; what they mean stands in moe4j.h. */
struct ExpertScalars {
  float gate_scale;  // tensor scales of the weights
  float up_scale;
  float down_scale;
  float input_scale;
  float intermediate_scale;
  float alpha;
  float beta;
  float limit;
};

class PreparedLayer {
 public:
  explicit PreparedLayer(const moe4j_layer_desc& desc) noexcept;

  /** Whether such a layer could fit any memory at all; asked before sizes are multiplied. */
  static bool is_possible(const moe4j_layer_desc& desc) noexcept;

  /** Whether there was memory for it. */
  bool allocated() const noexcept { return pages_.data() != nullptr; }
  int64_t bytes() const noexcept { return num_experts_ * shape_.expert_bytes; }
  const LayerShape& shape() const noexcept { return shape_; }

  /** Checks block scales, then packs on all threads of the pool. Nothing is changed on an error. */
  Status set_expert(int32_t expert, const moe4j_expert_weights& weights, ThreadPool& pool) noexcept;

  const uint8_t* gemm1_panel(int32_t expert, int64_t panel) const noexcept {
    return expert_data(expert) + panel * shape_.gemm1_panel_bytes;
  }
  const uint8_t* gemm2_panel(int32_t expert, int64_t panel) const noexcept {
    return expert_data(expert) + shape_.gemm1_panels * shape_.gemm1_panel_bytes +
           panel * shape_.gemm2_panel_bytes;
  }
  /** Biases in the order of the panels' rows, zero where there are none. */
  const float* gemm1_bias(int32_t expert, int64_t panel) const noexcept {
    return biases(expert) + panel * kPanelRows;
  }
  const float* gemm2_bias(int32_t expert, int64_t panel) const noexcept {
    return biases(expert) + (shape_.gemm1_panels + panel) * kPanelRows;
  }
  const ExpertScalars& scalars(int32_t expert) const noexcept { return *scalars_at(expert); }

 private:
  uint8_t* expert_data(int32_t expert) const noexcept {
    return pages_.data() + expert * shape_.expert_bytes;
  }
  float* biases(int32_t expert) const noexcept {
    return reinterpret_cast<float*>(expert_data(expert) +
                                    shape_.gemm1_panels * shape_.gemm1_panel_bytes +
                                    shape_.gemm2_panels * shape_.gemm2_panel_bytes);
  }
  ExpertScalars* scalars_at(int32_t expert) const noexcept {
    return reinterpret_cast<ExpertScalars*>(
        biases(expert) + (shape_.gemm1_panels + shape_.gemm2_panels) * kPanelRows);
  }
  Status check_scales(const moe4j_expert_weights& weights,
                      ThreadPool::Lease& threads) const noexcept;
  void pack_gemm1_panel(int32_t expert, int64_t panel,
                        const moe4j_expert_weights& weights) const noexcept;
  void pack_gemm2_panel(int32_t expert, int64_t panel,
                        const moe4j_expert_weights& weights) const noexcept;

  int32_t weight_format_;
  LayerShape shape_;
  int64_t num_experts_;
  Pages pages_;
};

}  // namespace moe4j
