#include "launchers/fused_moe_cpu.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/epilogue.hpp"
#include "cpu/token_tiles.hpp"
#include "formats/bf16.hpp"
#include "formats/quantize.hpp"
#include "launchers/cpu_workspace.hpp"
#include "routing/cpu_routing.hpp"

namespace moe4j {
namespace {

/** Work on fewer elements than this is done before another thread would have taken part. */
constexpr int64_t kInlineElements = 4 * 1024;

/** One call of launch_fused_moe(), by how its kernels read activations (token_tiles.hpp). */
template <class Tile>
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
        slots_(slots_per_token(desc)) {}

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
      gather();
      gemm1();
      if (quantizes()) quantize_h();
      gemm2();
      args_.do_finalize != 0 ? finalize() : report_permutation();
    }
    return Status::ok();
  }

 private:
  using Value = typename Tile::Type;

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
      if (rows > 0) workspace_.experts[num_active_++] = {e, begin[e], rows, 0, 0};
    }
    num_tiles_ = 0;
    for (int32_t i = 0; i < num_active_; ++i) {
      ActiveExpert& active = workspace_.experts[i];
      active.first_tile = num_tiles_;
      active.num_tiles = static_cast<int32_t>(num_tiles(active.rows, tactic_.tile_tokens));
      for (int32_t tile = 0; tile < active.num_tiles; ++tile) {
        const TileRange range = tile_range(active.rows, tactic_.tile_tokens, tile);
        workspace_.tiles[num_tiles_++] = {
            active.expert, active.first_row + static_cast<int32_t>(range.begin), range.count};
      }
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

  /** Whether the first tile stands for all: a single token, which its experts do not quantize with
   *  scales of their own. */
  bool one_tile_of_x() const {
    return tokens_ == 1 && pass_rows() == num_tiles_ &&
           desc_.activation_format != MOE4J_FORMAT_NVFP4;
  }

  uint8_t* x_tile(const ActiveTile& tile) const {
    const int64_t first_row = one_tile_of_x() ? 0 : tile.first_row;
    return workspace_.x + first_row * token_bytes(products_.layout, shape_.hidden_size);
  }
  uint8_t* h_tile(const ActiveTile& tile) const {
    return workspace_.h + tile.first_row * token_bytes(products_.layout, shape_.intermediate_size);
  }

  /** What fake_quantize_row() wants to know of a token's hidden state. */
  float x_row_scale(const ActiveTile& tile, int32_t i) const {
    const int64_t h = shape_.hidden_size;
    if (!block_format(desc_.activation_format).has_token_scale) {
      return layer_.scalars(tile.expert).input_scale;
    }
    return token_scale(
        h, static_cast<const uint16_t*>(args_.hidden_states) + token_of(tile.first_row + i) * h);
  }

  float h_row_scale(const ActiveTile& tile, int32_t i) const {
    const int64_t size = shape_.intermediate_size;
    if (!block_format(desc_.activation_format).has_token_scale) {
      return layer_.scalars(tile.expert).intermediate_scale;
    }
    return token_scale(size, workspace_.exact_h + (tile.first_row + i) * size);
  }

  /** Elements [first, first + length) of a token's hidden state as GEMM1 multiplies them. */
  void load_x(int64_t token, float row_scale, int64_t first, int64_t length, Value* piece) const {
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
      std::transform(source, source + length, piece, Tile::from_bf16);
      return;
    }
    float exact[kChunkK];
    std::transform(source, source + length, exact, bf16_to_f32);
    fake_quantize_row(desc_.activation_format, length, exact, row_scale, piece);
  }

  /** Brings each tile's hidden states together. */
  void gather() {
    const int64_t h = shape_.hidden_size;
    const bool one = one_tile_of_x();
    for_each(one ? std::min(1, num_tiles_) : num_tiles_, (one ? 1 : pass_rows()) * h,
             [&](int64_t index) {
               const ActiveTile& tile = workspace_.tiles[index];
               float scales[kMaxTileTokens];
               for (int32_t i = 0; i < tile.count; ++i) scales[i] = x_row_scale(tile, i);
               store_rows(Tile(kernels_, x_tile(tile), tile.count), tile.count, h,
                          [&](int32_t i, int64_t first, int64_t length, Value* piece) {
                            load_x(token_of(tile.first_row + i), scales[i], first, length, piece);
                          });
             });
  }

  /** Quantizes h from the F32 values of GEMM1's epilogue. */
  void quantize_h() {
    const int64_t size = shape_.intermediate_size;
    for_each(num_tiles_, pass_rows() * size, [&](int64_t index) {
      const ActiveTile& tile = workspace_.tiles[index];
      float scales[kMaxTileTokens];
      for (int32_t i = 0; i < tile.count; ++i) scales[i] = h_row_scale(tile, i);
      store_rows(Tile(kernels_, h_tile(tile), tile.count), tile.count, size,
                 [&](int32_t i, int64_t first, int64_t length, Value* piece) {
                   const float* exact = workspace_.exact_h + (tile.first_row + i) * size + first;
                   if (emulates()) {
                     fake_quantize_row(desc_.activation_format, length, exact, scales[i], piece);
                   } else {
                     std::transform(exact, exact + length, piece, Tile::from_f32);
                   }
                 });
    });
  }

  // ---- matrix multiplications ------------------------------------------------------------------

  /**
   * Multiplies all panels of all active experts with their tokens, a row tile an item. `finish` is
   * given each panel's sums with each tile.
   */
  template <class PanelAt, class TileAt, class Finish>
  void multiply(int64_t num_panels, int64_t k, const PanelAt& panel_at, const TileAt& tile_at,
                const Finish& finish) {
    const int64_t item_panels = tactic_.row_tile / kPanelRows;
    const int64_t expert_items = ceil_div(num_panels, item_panels);
    const MultiplyPanel multiply_panel = products_.multiply[desc_.weight_format];
    threads_.parallel_for(num_active_ * expert_items, [&](int64_t item) {
      const ActiveExpert& active = workspace_.experts[item / expert_items];
      const int64_t first_panel = item % expert_items * item_panels;
      const int64_t last_panel = std::min(first_panel + item_panels, num_panels);
      const ActiveTile* const tiles = workspace_.tiles + active.first_tile;
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        for (int32_t first = 0; first < active.num_tiles;) {
          alignas(64) float sums[kMaxGroupTokens * kPanelRows];
          TokenTile group[kMaxGroupTokens];
          int32_t count = 0;
          int32_t tokens = 0;
          while (first + count < active.num_tiles &&
                 tokens + tiles[first + count].count <= kMaxGroupTokens) {
            const ActiveTile& tile = tiles[first + count];
            group[count++] = {tile_at(tile), tile.count};
            tokens += tile.count;
          }
          multiply_panel({panel_at(active.expert, panel), chunks(k), group, count, sums});
          const float* tile_sums = sums;
          for (int32_t i = 0; i < count; ++i) {
            finish(tiles[first + i], panel, tile_sums);
            tile_sums += group[i].tokens * kPanelRows;
          }
          first += count;
        }
      }
    });
  }

  void gemm1() {
    multiply(
        shape_.gemm1_panels, shape_.hidden_size,
        [&](int32_t expert, int64_t panel) { return layer_.gemm1_panel(expert, panel); },
        [&](const ActiveTile& tile) { return x_tile(tile); },
        [&](const ActiveTile& tile, int64_t panel, const float* sums) {
          finish_h(tile, panel, sums);
        });
  }

  void finish_h(const ActiveTile& tile, int64_t panel, const float* sums) const {
    const int64_t outputs = shape_.panel_outputs;
    const int64_t first = panel * outputs;
    const ExpertScalars& scalars = layer_.scalars(tile.expert);
    float token_scales[kMaxTileTokens];
    const uint16_t* lora_delta[kMaxTileTokens];
    for (int32_t i = 0; i < tile.count; ++i) {
      const int64_t token = token_of(tile.first_row + i);
      token_scales[i] = x_tensor_scale(scalars);
      if (args_.per_token_scale != nullptr) token_scales[i] *= args_.per_token_scale[token];
      lora_delta[i] = lora_row(token, workspace_.permutation.row_slot[tile.first_row + i], first);
    }
    const Gemm1Epilogue epilogue = {
        desc_.activation, std::min(outputs, shape_.intermediate_size - first),
        outputs,          layer_.gemm1_bias(tile.expert, panel),
        &scalars,         token_scales,
        lora_delta,       shape_.intermediate_size};
    float h[kMaxTileTokens * kPanelRows];
    finish_gemm1(kernels_, epilogue, tile.count, sums, h);
    if (quantizes()) {
      for (int32_t i = 0; i < tile.count; ++i) {
        std::copy_n(h + i * outputs, epilogue.rows,
                    workspace_.exact_h + (tile.first_row + i) * shape_.intermediate_size + first);
      }
    } else {
      store_h(tile, panel, h);
    }
  }

  /** BF16 [T, k, 2I]; the shared experts have no delta. */
  const uint16_t* lora_row(int64_t token, int64_t slot, int64_t first) const {
    if (args_.gemm1_lora_delta == nullptr || slot >= desc_.top_k) return nullptr;
    const int64_t columns = shape_.intermediate_size * (shape_.gated ? 2 : 1);
    return static_cast<const uint16_t*>(args_.gemm1_lora_delta) +
           (token * desc_.top_k + slot) * columns + first;
  }

  /** h [count][outputs] of a panel into the tile that GEMM2 reads; the last panel fills it up. */
  void store_h(const ActiveTile& tile, int64_t panel, const float* h) const {
    const int64_t outputs = shape_.panel_outputs;
    const Tile destination(kernels_, h_tile(tile), tile.count);
    const int64_t first = panel * outputs;
    const int64_t end = first + outputs;
    const bool last = panel + 1 == shape_.gemm1_panels;
    const int64_t padding = last ? padded_k(shape_.intermediate_size) - end : 0;
    constexpr Value kZeros[kChunkK] = {};
    for (int32_t t = 0; t < tile.count; ++t) {
      Value values[kPanelRows];
      for (int64_t i = 0; i < outputs; ++i) values[i] = Tile::from_f32(h[t * outputs + i]);
      destination.store(t, first, outputs, values);
      if (padding > 0) destination.store(t, end, padding, kZeros);
    }
  }

  void gemm2() {
    multiply(
        shape_.gemm2_panels, shape_.intermediate_size,
        [&](int32_t expert, int64_t panel) { return layer_.gemm2_panel(expert, panel); },
        [&](const ActiveTile& tile) { return h_tile(tile); },
        [&](const ActiveTile& tile, int64_t panel, const float* sums) {
          finish_y(tile, panel, sums);
        });
  }

  void finish_y(const ActiveTile& tile, int64_t panel, const float* sums) const {
    const int64_t first = panel * kPanelRows;
    const int64_t rows = std::min(kPanelRows, shape_.hidden_size - first);
    const ExpertScalars& scalars = layer_.scalars(tile.expert);
    const float weight_scale = scalars.down_scale;
    const float h_scale = h_tensor_scale(scalars);
    const float* bias = layer_.gemm2_bias(tile.expert, panel);
    for (int32_t t = 0; t < tile.count; ++t) {
      const int64_t row = tile.first_row + t;
      float y[kPanelRows];
      for (int64_t i = 0; i < kPanelRows; ++i) {
        y[i] = sums[t * kPanelRows + i] * weight_scale * h_scale + bias[i];
      }
      if (args_.do_finalize == 0) {
        auto* output = static_cast<uint16_t*>(args_.permuted_output) +
                       output_row(tile.expert, row) * shape_.hidden_size + first;
        std::transform(y, y + rows, output, f32_to_bf16);
      } else if (rows == kPanelRows) {  // the rule: a copy of known size
        std::memcpy(workspace_.y + row * shape_.hidden_size + first, y, sizeof(y));
      } else {
        std::copy_n(y, rows, workspace_.y + row * shape_.hidden_size + first);
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

  // The pass at hand.
  int64_t first_token_ = 0;
  int64_t tokens_ = 0;
  int32_t num_active_ = 0;
  int32_t num_tiles_ = 0;
};

Status launch_on(ThreadPool::Lease& threads, const moe4j_layer_desc& desc,
                 const PreparedLayer& layer, const CpuTactic& tactic,
                 const moe4j_launch_args& args) noexcept {
  switch (tactic.products().layout) {
    case ActivationLayout::kF32Pairs:
      return FusedMoe<PairTile<F32Element>>(desc, layer, tactic, args, threads).run();
    case ActivationLayout::kBf16Pairs:
      return FusedMoe<PairTile<Bf16Element>>(desc, layer, tactic, args, threads).run();
    case ActivationLayout::kBf16Rows:
      return FusedMoe<Bf16RowTile>(desc, layer, tactic, args, threads).run();
    case ActivationLayout::kInt8Rows:
      return FusedMoe<Int8Tile<true>>(desc, layer, tactic, args, threads).run();
    default:
      return FusedMoe<Int8Tile<false>>(desc, layer, tactic, args, threads).run();
  }
}

}  // namespace

Status launch_fused_moe(const moe4j_layer_desc& desc, const PreparedLayer& layer,
                        const CpuTactic& tactic, const moe4j_launch_args& args,
                        ThreadPool& pool) noexcept {
  if (args.tokens == 0) return Status::ok();
  Status status = Status::ok();
  pool.run_in_turn(args.tokens, [&](ThreadPool::Lease& threads) {
    status = launch_on(threads, desc, layer, tactic, args);
  });
  return status;
}

}  // namespace moe4j
