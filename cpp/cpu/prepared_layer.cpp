#include "cpu/prepared_layer.hpp"

#include <atomic>

#include "cpu/prepare.hpp"
#include "formats/bf16.hpp"
#include "support/layer_desc.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

constexpr int64_t kLine = 64;

float bias_at(const moe4j_matrix& matrix, int64_t row) {
  if (matrix.bias == nullptr) return 0;
  const int64_t index = row * matrix.bias_stride;
  return matrix.bias_dtype == MOE4J_F32
             ? static_cast<const float*>(matrix.bias)[index]
             : bf16_to_f32(static_cast<const uint16_t*>(matrix.bias)[index]);
}

/** The block scales of one projection [rows, K]. */
Status check_block_scales(const char* projection, int32_t weight_format, int64_t rows, int64_t k,
                          const moe4j_matrix& matrix, ThreadPool::Lease& threads) noexcept {
  if (!block_format(weight_format).has_scales) return Status::ok();
  constexpr int64_t kRowsPerItem = 128;
  std::atomic<int64_t> first_row{rows};
  threads.parallel_for(ceil_div(rows, kRowsPerItem), [&](int64_t item) {
    const int64_t begin = item * kRowsPerItem;
    const int64_t end = begin + kRowsPerItem < rows ? begin + kRowsPerItem : rows;
    for (int64_t row = begin; row < end; ++row) {
      int64_t column;
      if (!find_nan_scale(weight_format, k, source_row(matrix, row), &column)) continue;
      int64_t known = first_row.load();
      while (row < known && !first_row.compare_exchange_weak(known, row)) {
      }
      return;
    }
  });
  const int64_t row = first_row.load();
  if (row == rows) return Status::ok();
  int64_t column = 0;
  find_nan_scale(weight_format, k, source_row(matrix, row), &column);
  return invalid_argument("%s.scales: found NaN at [%lld, %lld], expected finite block scales",
                          projection, static_cast<long long>(row), static_cast<long long>(column));
}

}  // namespace

LayerShape::LayerShape(const moe4j_layer_desc& desc) noexcept
    : gated(has_gate(desc.activation)),
      hidden_size(desc.hidden_size),
      intermediate_size(desc.intermediate_size),
      panel_outputs(gated ? kGatedPanelRows : kPanelRows),
      gemm1_panels(ceil_div(intermediate_size, panel_outputs)),
      gemm2_panels(ceil_div(hidden_size, kPanelRows)),
      gemm1_panel_bytes(panel_bytes(desc.weight_format, hidden_size)),
      gemm2_panel_bytes(panel_bytes(desc.weight_format, intermediate_size)) {
  const int64_t floats = (gemm1_panels + gemm2_panels) * kPanelRows;
  const int64_t bytes = gemm1_panels * gemm1_panel_bytes + gemm2_panels * gemm2_panel_bytes +
                        floats * static_cast<int64_t>(sizeof(float)) +
                        static_cast<int64_t>(sizeof(ExpertScalars));
  expert_bytes = round_up(bytes, kLine);
}

PreparedLayer::PreparedLayer(const moe4j_layer_desc& desc) noexcept
    : weight_format_(desc.weight_format),
      shape_(desc),
      num_experts_(num_held_experts(desc)),
      pages_(num_experts_ * shape_.expert_bytes) {}

bool PreparedLayer::is_possible(const moe4j_layer_desc& desc) noexcept {
  constexpr double kAddressSpace = 0x1p47;
  constexpr double kMaxBytesPerWeight = 2;
  const double experts = num_held_experts(desc);
  return experts * 3 * desc.hidden_size * desc.intermediate_size * kMaxBytesPerWeight <
         kAddressSpace;
}

Status PreparedLayer::check_scales(const moe4j_expert_weights& weights,
                                   ThreadPool::Lease& threads) const noexcept {
  const int64_t h = shape_.hidden_size;
  const int64_t i = shape_.intermediate_size;
  MOE4J_RETURN_IF_ERROR(check_block_scales("gate", weight_format_, i, h, weights.gate, threads));
  if (shape_.gated) {
    MOE4J_RETURN_IF_ERROR(check_block_scales("up", weight_format_, i, h, weights.up, threads));
  }
  return check_block_scales("down", weight_format_, h, i, weights.down, threads);
}

void PreparedLayer::pack_gemm1_panel(int32_t expert, int64_t panel,
                                     const moe4j_expert_weights& weights) const noexcept {
  SourceRow rows[kPanelRows] = {};
  float* bias = biases(expert) + panel * kPanelRows;
  for (int64_t i = 0; i < kPanelRows; ++i) {
    const bool up = i >= shape_.panel_outputs;
    const int64_t row = panel * shape_.panel_outputs + i % shape_.panel_outputs;
    bias[i] = 0;
    if (row >= shape_.intermediate_size) continue;
    const moe4j_matrix& matrix = up ? weights.up : weights.gate;
    rows[i] = source_row(matrix, row);
    bias[i] = bias_at(matrix, row);
  }
  pack_panel(weight_format_, shape_.hidden_size, rows,
             expert_data(expert) + panel * shape_.gemm1_panel_bytes);
}

void PreparedLayer::pack_gemm2_panel(int32_t expert, int64_t panel,
                                     const moe4j_expert_weights& weights) const noexcept {
  SourceRow rows[kPanelRows] = {};
  float* bias = biases(expert) + (shape_.gemm1_panels + panel) * kPanelRows;
  for (int64_t i = 0; i < kPanelRows; ++i) {
    const int64_t row = panel * kPanelRows + i;
    bias[i] = 0;
    if (row >= shape_.hidden_size) continue;
    rows[i] = source_row(weights.down, row);
    bias[i] = bias_at(weights.down, row);
  }
  pack_panel(weight_format_, shape_.intermediate_size, rows,
             expert_data(expert) + shape_.gemm1_panels * shape_.gemm1_panel_bytes +
                 panel * shape_.gemm2_panel_bytes);
}

Status PreparedLayer::set_expert(int32_t expert, const moe4j_expert_weights& weights,
                                 ThreadPool& pool) noexcept {
  ThreadPool::Lease threads(pool);
  MOE4J_RETURN_IF_ERROR(check_scales(weights, threads));
  threads.parallel_for(shape_.gemm1_panels + shape_.gemm2_panels, [&](int64_t panel) {
    if (panel < shape_.gemm1_panels) {
      pack_gemm1_panel(expert, panel, weights);
    } else {
      pack_gemm2_panel(expert, panel - shape_.gemm1_panels, weights);
    }
  });
  ExpertScalars& scalars = *scalars_at(expert);
  scalars.gate_scale = weights.gate.tensor_scale;
  scalars.up_scale = weights.up.tensor_scale;
  scalars.down_scale = weights.down.tensor_scale;
  scalars.input_scale = weights.input_scale;
  scalars.intermediate_scale = weights.intermediate_scale;
  scalars.alpha = weights.alpha;
  scalars.beta = weights.beta;
  scalars.limit = weights.limit;
  return Status::ok();
}

}  // namespace moe4j
