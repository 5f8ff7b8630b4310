#include "launchers/fused_moe_cpu.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/epilogue.hpp"
#include "cpu/token_tiles.hpp"
#include "cpu/token_vectors.hpp"
#include "formats/bf16.hpp"
#include "formats/quantize.hpp"
#include "launchers/cpu_workspace.hpp"
#include "routing/cpu_routing.hpp"
#include "support/layer_desc.hpp"

namespace moe4j {
namespace {

/** Work on fewer elements than this is done before another thread would have taken part. */
constexpr int64_t kInlineElements = 4 * 1024;

/** One call of launch_fused_moe(), by how its kernels read activations (token_vectors.hpp). */
template <class Vector>
class FusedMoe {
 public:
  FusedMoe(const moe4j_layer_desc& desc, const PreparedLayer& layer, const CpuTactic& tactic,
           const moe4j_launch_args& args, ThreadPool::Lease& threads)
      : desc_(desc),
        layer_(layer),
        shape_(layer.shape()),
        tactic_(tactic),
        args_(args),
        threads_(threads),
        kernels_(kernels(tactic.instruction_set)),
        products_(tactic.products()),
        workspace_(carve_workspace(desc, tactic, args.tokens, args.workspace)),
        slots_(slots_per_token(desc)),
        x_per_expert_(has_x_per_expert(desc, tactic)) {}

  Status run() {
    MOE4J_RETURN_IF_ERROR(route());
    report_routing();
    if (args_.do_finalize == 0) find_outputs();
    const int64_t step = pass_tokens(desc_, args_.tokens);
    for (int64_t first = 0; first < args_.tokens; first += step) {
      first_token_ = first;
      tokens_ = std::min(step, args_.tokens - first);
      build_permutation(desc_, workspace_.ids, first_token_, tokens_, workspace_.permutation);
      list_active_experts();
      store_x();
      gemm1();
      if (quantizes()) quantize_h();
      gemm2();
      args_.do_finalize != 0 ? finalize() : report_permutation();
    }
    return Status::ok();
  }

 private:
  using Element = typename Vector::Type;

  // ---- routing ---------------------------------------------------------------------------------

  Status route() {
    constexpr int64_t kTokensPerItem = 16;
    const int64_t items = ceil_div(args_.tokens, kTokensPerItem);
    const auto route_item = [&](int64_t item) {
      const int64_t begin = item * kTokensPerItem;
      return route_tokens(desc_, args_, begin, std::min(begin + kTokensPerItem, args_.tokens),
                          workspace_.ids, workspace_.weights);
    };
    std::atomic<int64_t> first_failure{items};
    threads_.parallel_for(items, [&](int64_t item) {
      if (route_item(item).is_ok()) return;
      int64_t known = first_failure.load();
      while (item < known && !first_failure.compare_exchange_weak(known, item)) {
      }
    });
    const int64_t failure = first_failure.load();
    return failure == items ? Status::ok() : route_item(failure);
  }

  void report_routing() {
    const int64_t k = desc_.top_k;
    const int64_t count = args_.tokens * k;
    if (args_.topk_ids_out != nullptr) std::copy_n(workspace_.ids, count, args_.topk_ids_out);
    if (args_.topk_weights_out != nullptr) {
      std::copy_n(workspace_.weights, count, args_.topk_weights_out);
    }
    if (args_.routing_replay_out != nullptr) {
      std::transform(workspace_.ids, workspace_.ids + count, args_.routing_replay_out,
                     [](int32_t id) { return static_cast<int16_t>(id); });
    }
    if (args_.do_finalize != 0) return;
    for (int64_t t = 0; t < args_.tokens; ++t) {
      float* weights = args_.expert_weights + t * slots_;
      std::copy_n(workspace_.weights + t * k, k, weights);
      std::fill(weights + k, weights + slots_, 1.0f);
    }
  }

  // ---- permutation -----------------------------------------------------------------------------

  /** Where each expert's rows begin in permuted_output, over all passes. */
  void find_outputs() {
    const int32_t experts = num_held_experts(desc_);
    std::fill_n(workspace_.next_output, experts, 0);
    for (int64_t t = 0; t < args_.tokens; ++t) {
      for (int64_t s = 0; s < slots_; ++s) {
        const int32_t expert = held_expert(desc_, workspace_.ids, t, s);
        if (expert >= 0) ++workspace_.next_output[expert];
      }
    }
    int32_t begin = 0;
    for (int32_t e = 0; e < experts; ++e) {
      const int32_t count = workspace_.next_output[e];
      workspace_.next_output[e] = begin;
      begin += count;
    }
  }

  void list_active_experts() {
    const int32_t* begin = workspace_.permutation.expert_begin;
    num_active_ = 0;
    for (int32_t e = 0; e < num_held_experts(desc_); ++e) {
      const int32_t rows = begin[e + 1] - begin[e];
      if (rows > 0) workspace_.experts[num_active_++] = {e, begin[e], rows};
    }
  }

  int64_t pass_rows() const { return workspace_.permutation.expert_begin[num_held_experts(desc_)]; }

  // ---- activations -----------------------------------------------------------------------------

  /** Whether h is quantized once whole blocks of it are there. */
  bool quantizes() const { return desc_.activation_format != MOE4J_FORMAT_BF16; }

  /** Whether values are rounded to those of a format that kernels do not have; INT8 they have. */
  bool emulates() const { return quantizes() && desc_.activation_format != MOE4J_FORMAT_INT8; }

  /** Whether x comes in codes of the activation format. */
  bool hidden_states_are_codes() const { return args_.hidden_states_format != MOE4J_FORMAT_BF16; }

  bool has_token_scale() const { return block_format(desc_.activation_format).has_token_scale; }

  float x_tensor_scale(const ExpertScalars& scalars) const {
    if (desc_.activation_format != MOE4J_FORMAT_NVFP4) return 1;
    return hidden_states_are_codes() ? args_.hidden_states_tensor_scale : scalars.input_scale;
  }

  float h_tensor_scale(const ExpertScalars& scalars) const {
    return desc_.activation_format == MOE4J_FORMAT_NVFP4 ? scalars.intermediate_scale : 1;
  }

  /** The token of the launch that a row of this pass belongs to. */
  int64_t token_of(int64_t row) const {
    return first_token_ + workspace_.permutation.row_token[row];
  }

  int32_t expert_of(int64_t row) const {
    return held_expert(desc_, workspace_.ids, token_of(row), workspace_.permutation.row_slot[row]);
  }

  /** The vector of x that a row of this pass multiplies, by its place among them. */
  int64_t x_index(int64_t row) const {
    return x_per_expert_ ? row : workspace_.permutation.row_token[row];
  }
  uint8_t* x_vector(int64_t index) const {
    return workspace_.x + index * vector_stride(products_.layout, shape_.hidden_size);
  }
  uint8_t* h_vector(int64_t row) const {
    return workspace_.h + row * vector_stride(products_.layout, shape_.intermediate_size);
  }

  /** Elements [first, first + length) of a token's hidden state as GEMM1 multiplies them. */
  void load_x(int64_t token, float scale, int64_t first, int64_t length, Element* piece) const {
    const int64_t h = shape_.hidden_size;
    if (hidden_states_are_codes()) {
      const BlockFormat format = block_format(args_.hidden_states_format);
      const auto* codes = static_cast<const uint8_t*>(args_.hidden_states);
      const auto* scales = static_cast<const uint8_t*>(args_.hidden_states_scale);
      decode_row(args_.hidden_states_format, length,
                 codes + token * format.code_bytes(h) + format.code_bytes(first),
                 scales + token * format.scale_bytes(h) + format.scale_bytes(first), piece);
      return;
    }
    const auto* source = static_cast<const uint16_t*>(args_.hidden_states) + token * h + first;
    if (!emulates()) {
      std::transform(source, source + length, piece, Vector::from_bf16);
      return;
    }
    float exact[kChunkK];
    std::transform(source, source + length, exact, bf16_to_f32);
    fake_quantize_row(desc_.activation_format, length, exact, scale, piece);
  }

  /** Writes the hidden states as kernels read them, each token once if its experts can share it. */
  void store_x() {
    const int64_t h = shape_.hidden_size;
    const int64_t count = x_per_expert_ ? pass_rows() : tokens_;
    for_each(count, count * h, [&](int64_t index) {
      const int64_t token = x_per_expert_ ? token_of(index) : first_token_ + index;
      float scale = 1;
      if (x_per_expert_) scale = layer_.scalars(expert_of(index)).input_scale;
      if (has_token_scale()) {
        scale = token_scale(h, static_cast<const uint16_t*>(args_.hidden_states) + token * h);
      }
      store_vector<Vector>(kernels_, x_vector(index), h,
                           [&](int64_t first, int64_t length, Element* piece) {
                             load_x(token, scale, first, length, piece);
                           });
    });
  }

  /** Quantizes h from the F32 values of GEMM1's epilogue. */
  void quantize_h() {
    const int64_t size = shape_.intermediate_size;
    for_each(pass_rows(), pass_rows() * size, [&](int64_t row) {
      const float* exact = workspace_.exact_h + row * size;
      const float scale = has_token_scale() ? token_scale(size, exact)
                                            : layer_.scalars(expert_of(row)).intermediate_scale;
      store_vector<Vector>(
          kernels_, h_vector(row), size, [&](int64_t first, int64_t length, Element* piece) {
            if (emulates()) {
              fake_quantize_row(desc_.activation_format, length, exact + first, scale, piece);
            } else {
              std::transform(exact + first, exact + first + length, piece, Vector::from_f32);
            }
          });
    });
  }

  // ---- matrix multiplications ------------------------------------------------------------------

  /**
   * Multiplies all panels of all active experts with their tokens, a row tile an item. `finish` is
   * given the sums of each panel with each group of rows.
   */
  template <class PanelAt, class VectorAt, class Finish>
  void multiply(int64_t num_panels, int64_t k, const PanelAt& panel_at, const VectorAt& vector_at,
                const Finish& finish) {
    const int64_t item_panels = tactic_.row_tile / kPanelRows;
    const int64_t expert_items = ceil_div(num_panels, item_panels);
    const int32_t group_tokens = kMaxGroupTokens / tactic_.tile_tokens * tactic_.tile_tokens;
    const MultiplyPanel multiply_panel = products_.multiply[desc_.weight_format];
    threads_.parallel_for(num_active_ * expert_items, [&](int64_t item) {
      const ExpertRows& active = workspace_.experts[item / expert_items];
      const int64_t groups = num_tiles(active.count, group_tokens);
      const int64_t first_panel = item % expert_items * item_panels;
      const int64_t last_panel = std::min(first_panel + item_panels, num_panels);
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        for (int64_t g = 0; g < groups; ++g) {
          const TileRange range = tile_range(active.count, group_tokens, g);
          const ExpertRows group = {active.expert, active.first + static_cast<int32_t>(range.begin),
                                    range.count};
          const void* vectors[kMaxGroupTokens];
          for (int32_t i = 0; i < group.count; ++i) vectors[i] = vector_at(group.first + i);
          TokenTile tiles[kMaxGroupTokens];
          const auto count = static_cast<int32_t>(num_tiles(group.count, tactic_.tile_tokens));
          for (int32_t i = 0; i < count; ++i) {
            const TileRange tile = tile_range(group.count, tactic_.tile_tokens, i);
            tiles[i] = {vectors + tile.begin, tile.count};
          }
          alignas(64) float sums[kMaxGroupTokens * kPanelRows];
          multiply_panel({panel_at(group.expert, panel), chunks(k), tiles, count, sums});
          finish(group, panel, sums);
        }
      }
    });
  }

  void gemm1() {
    multiply(
        shape_.gemm1_panels, shape_.hidden_size,
        [&](int32_t expert, int64_t panel) { return layer_.gemm1_panel(expert, panel); },
        [&](int64_t row) { return x_vector(x_index(row)); },
        [&](const ExpertRows& rows, int64_t panel, const float* sums) {
          finish_h(rows, panel, sums);
        });
  }

  void finish_h(const ExpertRows& rows, int64_t panel, const float* sums) const {
    const int64_t outputs = shape_.panel_outputs;
    const int64_t first = panel * outputs;
    const ExpertScalars& scalars = layer_.scalars(rows.expert);
    float token_scales[kMaxGroupTokens];
    const uint16_t* lora_delta[kMaxGroupTokens];
    for (int32_t i = 0; i < rows.count; ++i) {
      const int64_t token = token_of(rows.first + i);
      token_scales[i] = x_tensor_scale(scalars);
      if (args_.per_token_scale != nullptr) token_scales[i] *= args_.per_token_scale[token];
      lora_delta[i] = lora_row(token, workspace_.permutation.row_slot[rows.first + i], first);
    }
    const Gemm1Epilogue epilogue = {
        desc_.activation, std::min(outputs, shape_.intermediate_size - first),
        outputs,          layer_.gemm1_bias(rows.expert, panel),
        &scalars,         token_scales,
        lora_delta,       shape_.intermediate_size};
    float h[kMaxGroupTokens * kPanelRows];
    finish_gemm1(kernels_, epilogue, rows.count, sums, h);
    if (quantizes()) {
      for (int32_t i = 0; i < rows.count; ++i) {
        std::copy_n(h + i * outputs, epilogue.rows,
                    workspace_.exact_h + (rows.first + i) * shape_.intermediate_size + first);
      }
    } else {
      store_h(rows, panel, h);
    }
  }

  /** BF16 [T, k, 2I]; the shared experts have no delta. */
  const uint16_t* lora_row(int64_t token, int64_t slot, int64_t first) const {
    if (args_.gemm1_lora_delta == nullptr || slot >= desc_.top_k) return nullptr;
    const int64_t columns = shape_.intermediate_size * (shape_.gated ? 2 : 1);
    return static_cast<const uint16_t*>(args_.gemm1_lora_delta) +
           (token * desc_.top_k + slot) * columns + first;
  }

  /** h [count][outputs] of a panel into the vectors that GEMM2 reads; the last panel fills them
   *  up. */
  void store_h(const ExpertRows& rows, int64_t panel, const float* h) const {
    const int64_t outputs = shape_.panel_outputs;
    const int64_t first = panel * outputs;
    const int64_t end = first + outputs;
    const bool last = panel + 1 == shape_.gemm1_panels;
    const int64_t padding = last ? padded_k(shape_.intermediate_size) - end : 0;
    constexpr Element kZeros[kChunkK] = {};
    for (int32_t i = 0; i < rows.count; ++i) {
      uint8_t* const vector = h_vector(rows.first + i);
      Element values[kPanelRows];
      std::transform(h + i * outputs, h + (i + 1) * outputs, values, Vector::from_f32);
      Vector::store(kernels_, vector, first, outputs, values);
      if (padding > 0) Vector::store(kernels_, vector, end, padding, kZeros);
    }
  }

  void gemm2() {
    multiply(
        shape_.gemm2_panels, shape_.intermediate_size,
        [&](int32_t expert, int64_t panel) { return layer_.gemm2_panel(expert, panel); },
        [&](int64_t row) { return h_vector(row); },
        [&](const ExpertRows& rows, int64_t panel, const float* sums) {
          finish_y(rows, panel, sums);
        });
  }

  void finish_y(const ExpertRows& rows, int64_t panel, const float* sums) const {
    const int64_t first = panel * kPanelRows;
    const int64_t columns = std::min(kPanelRows, shape_.hidden_size - first);
    const ExpertScalars& scalars = layer_.scalars(rows.expert);
    const float weight_scale = scalars.down_scale;
    const float h_scale = h_tensor_scale(scalars);
    const float* bias = layer_.gemm2_bias(rows.expert, panel);
    for (int32_t t = 0; t < rows.count; ++t) {
      const int64_t row = rows.first + t;
      float y[kPanelRows];
      for (int64_t i = 0; i < kPanelRows; ++i) {
        y[i] = sums[t * kPanelRows + i] * weight_scale * h_scale + bias[i];
      }
      if (args_.do_finalize == 0) {
        auto* output = static_cast<uint16_t*>(args_.permuted_output) +
                       output_row(rows.expert, row) * shape_.hidden_size + first;
        std::transform(y, y + columns, output, f32_to_bf16);
      } else if (columns == kPanelRows) {  // the rule: a copy of known size
        std::memcpy(workspace_.y + row * shape_.hidden_size + first, y, sizeof(y));
      } else {
        std::copy_n(y, columns, workspace_.y + row * shape_.hidden_size + first);
      }
    }
  }

  // ---- results ---------------------------------------------------------------------------------

  /** The row of permuted_output that a row of this pass becomes. */
  int64_t output_row(int32_t expert, int64_t row) const {
    return workspace_.next_output[expert] + (row - workspace_.permutation.expert_begin[expert]);
  }

  void report_permutation() {
    const Permutation& permutation = workspace_.permutation;
    int32_t* slot_output = args_.expanded_to_permuted + first_token_ * slots_;
    for (int64_t t = 0; t < tokens_; ++t) {
      for (int64_t s = 0; s < slots_; ++s) {
        const int32_t row = permutation.slot_row[t * slots_ + s];
        const int32_t expert = held_expert(desc_, workspace_.ids, first_token_ + t, s);
        slot_output[t * slots_ + s] = row < 0 ? -1 : static_cast<int32_t>(output_row(expert, row));
      }
    }
    for (int32_t e = 0; e < num_held_experts(desc_); ++e) {
      workspace_.next_output[e] += permutation.expert_begin[e + 1] - permutation.expert_begin[e];
    }
  }

  /** Sums each token's rows in the order of its slots. */
  void finalize() {
    for_each(tokens_, pass_rows() * shape_.hidden_size, [&](int64_t t) { finalize_token(t); });
  }

  void finalize_token(int64_t t) const {
    constexpr int64_t kPiece = 256;
    const int64_t h = shape_.hidden_size;
    const int64_t token = first_token_ + t;
    for (int64_t first = 0; first < h; first += kPiece) {
      const int64_t length = std::min(kPiece, h - first);
      float sum[kPiece] = {};
      for (int64_t s = 0; s < slots_; ++s) {
        const int32_t row = workspace_.permutation.slot_row[t * slots_ + s];
        if (row < 0) continue;
        const float weight = s < desc_.top_k ? workspace_.weights[token * desc_.top_k + s] : 1.0f;
        const float* y = workspace_.y + row * h + first;
        for (int64_t i = 0; i < length; ++i) sum[i] += weight * y[i];
      }
      if (args_.addend != nullptr) {
        const float* addend = args_.addend + token * h + first;
        for (int64_t i = 0; i < length; ++i) sum[i] += addend[i];
      }
      if (args_.output_dtype == MOE4J_F32) {
        std::copy_n(sum, length, static_cast<float*>(args_.output) + token * h + first);
      } else {
        std::transform(sum, sum + length, static_cast<uint16_t*>(args_.output) + token * h + first,
                       f32_to_bf16);
      }
    }
  }

  /** Calls body(i) for i < count: here, if all of them together handle few elements. */
  template <class Body>
  void for_each(int64_t count, int64_t elements, const Body& body) {
    if (elements < kInlineElements) {
      for (int64_t i = 0; i < count; ++i) body(i);
    } else {
      threads_.parallel_for(count, body);
    }
  }

  const moe4j_layer_desc& desc_;
  const PreparedLayer& layer_;
  const LayerShape& shape_;
  const CpuTactic& tactic_;
  const moe4j_launch_args& args_;
  ThreadPool::Lease& threads_;
  const Kernels& kernels_;
  const Products& products_;
  const CpuWorkspace workspace_;
  const int64_t slots_;
  const bool x_per_expert_;

  // The pass at hand.
  int64_t first_token_ = 0;
  int64_t tokens_ = 0;
  int32_t num_active_ = 0;
};

Status launch_on(ThreadPool::Lease& threads, const moe4j_layer_desc& desc,
                 const PreparedLayer& layer, const CpuTactic& tactic,
                 const moe4j_launch_args& args) noexcept {
  switch (tactic.products().layout) {
    case ActivationLayout::kF32:
      return FusedMoe<F32Vector>(desc, layer, tactic, args, threads).run();
    case ActivationLayout::kBf16:
      return FusedMoe<Bf16Vector>(desc, layer, tactic, args, threads).run();
    default:
      return FusedMoe<Int8Vector>(desc, layer, tactic, args, threads).run();
  }
}

}  // namespace

Status launch_fused_moe(const moe4j_layer_desc& desc, const PreparedLayer& layer,
                        const CpuTactic& tactic, const moe4j_launch_args& args,
                        ThreadPool& pool) noexcept {
  Status status = Status::ok();
  pool.run_in_turn(args.tokens, [&](ThreadPool::Lease& threads) {
    status = launch_on(threads, desc, layer, tactic, args);
  });
  return status;
}

}  // namespace moe4j
