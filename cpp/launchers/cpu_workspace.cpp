#include "launchers/cpu_workspace.hpp"

#include <algorithm>

#include "cpu/token_vectors.hpp"
#include "support/layer_desc.hpp"
#include "support/round_up.hpp"

namespace moe4j {
namespace {

/** Hands out aligned pieces of a range of bytes, or only counts them. */
class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<uint8_t*>(base)) {}

  template <class T>
  T* take(int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    void* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += round_up(bytes, MOE4J_ALIGNMENT);
    return static_cast<T*>(piece);
  }

  int64_t used() const { return used_; }

 private:
  uint8_t* base_;
  int64_t used_ = 0;
};

int64_t carve(const moe4j_layer_desc& desc, const CpuTactic& tactic, int64_t tokens, void* base,
              CpuWorkspace* workspace) {
  const int64_t in_pass = pass_tokens(desc, tokens);
  const int64_t rows = max_rows(desc, in_pass);
  const ActivationLayout layout = tactic.products().layout;
  const int64_t experts = num_held_experts(desc);
  Carver carver(base);
  CpuWorkspace& w = *workspace;
  w.ids = carver.take<int32_t>(tokens * desc.top_k);
  w.weights = carver.take<float>(tokens * desc.top_k);
  w.next_output = carver.take<int32_t>(experts);
  w.permutation.expert_begin = carver.take<int32_t>(experts + 1);
  w.permutation.row_token = carver.take<int32_t>(rows);
  w.permutation.row_slot = carver.take<int32_t>(rows);
  w.permutation.slot_row = carver.take<int32_t>(in_pass * slots_per_token(desc));
  w.experts = carver.take<ExpertRows>(experts);
  const int64_t x_vectors = has_x_per_expert(desc, tactic) ? rows : in_pass;
  const int64_t x_bytes = x_vectors * vector_stride(layout, desc.hidden_size);
  const int64_t y_bytes = rows * desc.hidden_size * static_cast<int64_t>(sizeof(float));
  w.x = carver.take<uint8_t>(std::max(x_bytes, y_bytes));
  w.y = reinterpret_cast<float*>(w.x);
  w.h = carver.take<uint8_t>(rows * vector_stride(layout, desc.intermediate_size));
  const bool quantized = desc.activation_format != MOE4J_FORMAT_BF16;
  w.exact_h = quantized ? carver.take<float>(rows * desc.intermediate_size) : nullptr;
  return carver.used();
}

}  // namespace

int64_t pass_tokens(const moe4j_layer_desc& desc, int64_t tokens) noexcept {
  return std::min(tokens, std::max<int64_t>(1, kPassRows / slots_per_token(desc)));
}

CpuWorkspace carve_workspace(const moe4j_layer_desc& desc, const CpuTactic& tactic, int64_t tokens,
                             void* base) noexcept {
  CpuWorkspace workspace;
  carve(desc, tactic, tokens, base, &workspace);
  return workspace;
}

int64_t cpu_workspace_bytes(const moe4j_layer_desc& desc, const CpuTactic& tactic,
                            int64_t tokens) noexcept {
  CpuWorkspace ignored;
  return carve(desc, tactic, tokens, nullptr, &ignored);
}

}  // namespace moe4j
