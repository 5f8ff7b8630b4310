#include "launchers/cuda_layer.hpp"

#include <algorithm>
#include <limits>
#include <new>

#include "cuda/device_guard.hpp"
#include "cuda/prepared_layer.hpp"
#include "launchers/fused_moe_cuda.hpp"
#include "support/layer_desc.hpp"

namespace moe4j::cuda {
namespace {

class CudaLayer final : public Layer {
 public:
  explicit CudaLayer(CudaContext& context) : context_(context) {}

  ~CudaLayer() override {
    if (created_) {
      context_.counts.live_bytes -= counted_bytes_;
      --context_.counts.live_layers;
    }
    const DeviceGuard guard(context_.primary);
    prepared_.reset();
  }

  Status create(const moe4j_layer_desc& desc) {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    const int32_t experts = num_held_experts(desc);
    if (experts > context_.max_experts) {
      return failure(MOE4J_UNSUPPORTED,
                     "local_num_experts + num_fused_shared_experts: found %d, expected at most %d "
                     "on cuda:%d, whose blocks have no more shared memory",
                     experts, context_.max_experts, context_.index);
    }
    prepared_ = std::make_unique<PreparedLayer>();
    MOE4J_RETURN_IF_ERROR(prepared_->create(desc, fp8_suits(desc, context_.compute_capability)));
    MOE4J_RETURN_IF_ERROR(LaunchPlan::make(context_, desc, &plan_));
    created_ = true;
    ++context_.counts.live_layers;
    count_bytes();
    return Status::ok();
  }

  const moe4j_layer_desc& desc() const noexcept override { return prepared_->desc(); }
  bool sealed() const noexcept override { return prepared_->sealed(); }

  Status set_expert(int32_t local_expert, const moe4j_expert_weights& weights) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    return prepared_->set_expert(local_expert, weights);
  }

  Status seal() noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    MOE4J_RETURN_IF_ERROR(prepared_->seal());
    count_bytes();
    return Status::ok();
  }

  int64_t prepared_bytes() const noexcept override { return prepared_->bytes(); }

  int32_t tactics(int64_t tokens, int32_t* ids, int32_t capacity) const noexcept override {
    int32_t count = 0;
    const auto add = [&](int32_t id) {
      if (count < capacity) ids[count] = id;
      ++count;
    };
    int32_t first =
        default_tactic(desc(), tokens, context_.compute_capability, prepared_->is_fp8());
    // Not every GPU has the shared memory of every kernel.
    for (int32_t id = 0; !suits(first, tokens) && id < num_tactics(); ++id) {
      if (suits(id, tokens)) first = id;
    }
    add(first);
    for (int32_t id = 0; id < num_tactics(); ++id) {
      if (id != first && suits(id, tokens)) add(id);
    }
    return count;
  }

  Status workspace_bytes(int32_t tactic, int64_t tokens, int64_t* bytes) const noexcept override {
    MOE4J_RETURN_IF_ERROR(check(tactic, tokens));
    *bytes = cuda::workspace_bytes(desc(), tactic, tokens);
    return Status::ok();
  }

  Status launch(const moe4j_launch_args& args) const noexcept override {
    MOE4J_RETURN_IF_ERROR(check(args.tactic, args.tokens));
    // Kernels copy 16 bytes at a time.
    if (reinterpret_cast<uintptr_t>(args.hidden_states) % 16 != 0) {
      return invalid_argument("hidden_states: found address %p, expected a multiple of 16",
                              args.hidden_states);
    }
    if (reinterpret_cast<uintptr_t>(args.permuted_output) % 16 != 0) {
      return invalid_argument("permuted_output: found address %p, expected a multiple of 16",
                              args.permuted_output);
    }
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    MOE4J_RETURN_IF_ERROR(launch_fused_moe(context_, *prepared_, plan_, args));
    context_.counts.count_launch(args);
    return Status::ok();
  }

 private:
  /** No tokens have the tactics of one. */
  bool suits(int32_t id, int64_t tokens) const {
    tokens = std::max<int64_t>(tokens, 1);
    const Tactic& row = tactic(id);
    if (prepared_->is_fp8() != (row.family == Family::kSm90Fp8)) return false;
    if (!family_runs_on(row.family, context_.compute_capability)) return false;
    switch (row.family) {
      case Family::kDecode:
      case Family::kSm90Decode:
        return decode_suits(row, desc(), tokens) && plan_.decode_blocks(id, tokens) > 0;
      case Family::kSm90Narrow:
        return narrow_suits(desc(), tokens) && plan_.narrow_blocks(id, tokens) > 0;
      default:
        return plan_.holds_grouped(id);
    }
  }

  Status check(int32_t id, int64_t tokens) const {
    if (id < 0 || id >= num_tactics()) {
      return invalid_argument("tactic: found %d, expected 0 <= tactic < %d", id, num_tactics());
    }
    if (!suits(id, tokens)) {
      return invalid_argument(
          "tactic: found %d (%s), expected one that moe4j_layer_tactics() lists for %lld tokens",
          id, tactic(id).name, static_cast<long long>(tokens));
    }
    // Kernels count rows in 32 bits.
    const int64_t slots = slots_per_token(desc());
    if (tokens > std::numeric_limits<int32_t>::max() / slots) {
      return invalid_argument("tokens: found %lld, expected fewer than 2^31 / %lld",
                              static_cast<long long>(tokens), static_cast<long long>(slots));
    }
    return Status::ok();
  }

  void count_bytes() {
    const int64_t bytes = prepared_->bytes();
    context_.counts.live_bytes += bytes - counted_bytes_;
    counted_bytes_ = bytes;
  }

  CudaContext& context_;
  std::unique_ptr<PreparedLayer> prepared_;
  LaunchPlan plan_;
  bool created_ = false;
  int64_t counted_bytes_ = 0;
};

}  // namespace

Status create_layer(CudaContext& context, const moe4j_layer_desc& desc,
                    std::unique_ptr<Layer>* layer) noexcept {
  if (desc.activation_format == MOE4J_FORMAT_INT8) {
    return failure(MOE4J_UNSUPPORTED,
                   "activation_format: found INT8, which only CPU devices have, expected BF16, "
                   "NVFP4, MXFP8 or FP8_PER_TOKEN");
  }
  try {
    auto created = std::make_unique<CudaLayer>(context);
    MOE4J_RETURN_IF_ERROR(created->create(desc));
    *layer = std::move(created);
    return Status::ok();
  } catch (const std::bad_alloc&) {
    return failure(MOE4J_OUT_OF_MEMORY, "moe4j_layer_create: no host memory");
  }
}

}  // namespace moe4j::cuda
