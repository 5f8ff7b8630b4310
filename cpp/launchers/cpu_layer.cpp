#include "launchers/cpu_layer.hpp"

#include "cpu/tactic.hpp"
#include "launchers/cpu_workspace.hpp"
#include "launchers/fused_moe_cpu.hpp"
#include "support/layer_desc.hpp"
#include "support/message.hpp"

namespace moe4j {

Status CpuLayer::create(const moe4j_layer_desc& desc, CpuContext& context,
                        std::unique_ptr<Layer>* layer) noexcept {
  const Status no_memory =
      failure(MOE4J_OUT_OF_MEMORY, "layer: no memory for the weights of %d experts of [%d, %d]",
              num_held_experts(desc), desc.intermediate_size, desc.hidden_size);
  if (!PreparedLayer::is_possible(desc)) return no_memory;
  std::unique_ptr<CpuLayer> created(new (std::nothrow) CpuLayer(desc, context));
  if (created == nullptr || !created->prepared_.allocated() || created->expert_is_set_ == nullptr) {
    return no_memory;
  }
  *layer = std::move(created);
  return Status::ok();
}

CpuLayer::CpuLayer(const moe4j_layer_desc& desc, CpuContext& context) noexcept
    : desc_(desc),
      context_(context),
      prepared_(desc),
      expert_is_set_(new (std::nothrow)
                         std::atomic<bool>[static_cast<size_t>(num_held_experts(desc))]) {
  for (int32_t e = 0; expert_is_set_ != nullptr && e < num_held_experts(desc); ++e) {
    expert_is_set_[static_cast<size_t>(e)].store(false);
  }
  context_.counts.live_layers.fetch_add(1);
  context_.counts.live_bytes.fetch_add(prepared_.bytes());
}

CpuLayer::~CpuLayer() {
  context_.counts.live_bytes.fetch_sub(prepared_.bytes());
  context_.counts.live_layers.fetch_sub(1);
}

Status CpuLayer::set_expert(int32_t local_expert, const moe4j_expert_weights& weights) noexcept {
  MOE4J_RETURN_IF_ERROR(prepared_.set_expert(local_expert, weights, *context_.pool));
  expert_is_set_[static_cast<size_t>(local_expert)].store(true);
  return Status::ok();
}

Status CpuLayer::seal() noexcept {
  for (int32_t e = 0; e < num_held_experts(desc_); ++e) {
    if (!expert_is_set_[static_cast<size_t>(e)].load()) {
      return invalid_argument("layer: found no weights for local expert %d, expected all %d set", e,
                              num_held_experts(desc_));
    }
  }
  sealed_.store(true, std::memory_order_release);
  return Status::ok();
}

int32_t CpuLayer::tactics(int64_t tokens, int32_t* ids, int32_t capacity) const noexcept {
  return tactics_for(desc_, tokens, context_.best, ids, capacity);
}

Status CpuLayer::workspace_bytes(int32_t tactic, int64_t tokens, int64_t* bytes) const noexcept {
  if (tactic < 0 || tactic >= kNumCpuTactics ||
      !can_run(kCpuTactics[tactic], context_.best, desc_.activation_format)) {
    return invalid_argument("tactic: found %d, expected an id from moe4j_layer_tactics()", tactic);
  }
  *bytes = cpu_workspace_bytes(desc_, kCpuTactics[tactic], tokens);
  return Status::ok();
}

Status CpuLayer::launch(const moe4j_launch_args& args) const noexcept {
  MOE4J_RETURN_IF_ERROR(
      launch_fused_moe(desc_, prepared_, kCpuTactics[args.tactic], args, *context_.pool));
  context_.counts.count_launch(args);
  return Status::ok();
}

}  // namespace moe4j
