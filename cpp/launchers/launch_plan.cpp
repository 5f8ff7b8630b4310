#include "launchers/launch_plan.hpp"

#include "cuda/cuda_status.hpp"
#include "cuda/shared_memory.hpp"
#include "support/layer_desc.hpp"
#include "support/limits.hpp"

namespace moe4j::cuda {

GateUpPlan plan_gate_up(const Tactic& tactic, const moe4j_layer_desc& desc, int64_t tokens) {
  return plan_gate_up(desc.weight_format, static_cast<int32_t>(tokens), slots_per_token(desc),
                      desc.hidden_size, tactic.blocks, tactic.stages);
}

Status LaunchPlan::make(const CudaContext& context, const moe4j_layer_desc& desc,
                        LaunchPlan* plan) {
  const auto count_blocks = [&](const void* kernel, int threads, int shared, int max_shared,
                                int32_t* blocks) {
    // The attribute belongs to the kernel, not to the layer: always the same value.
    int32_t granted = 0;
    MOE4J_RETURN_IF_ERROR(allow_shared_memory(kernel, max_shared, &granted));
    *blocks = 0;
    if (shared > granted) return Status::ok();
    int per_multiprocessor = 0;
    MOE4J_RETURN_IF_ERROR(
        cuda_status(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                        &per_multiprocessor, kernel, threads, static_cast<size_t>(shared)),
                    "asking for the occupancy"));
    *blocks = per_multiprocessor * context.multiprocessors;
    return Status::ok();
  };
  const int32_t experts = num_held_experts(desc);
  plan->grouped_blocks_.assign(static_cast<size_t>(num_tactics()), {0, 0});
  plan->narrow_blocks_.assign(static_cast<size_t>(num_tactics()), {});
  plan->decode_blocks_.assign(static_cast<size_t>(num_tactics()), {});
  for (int32_t id = 0; id < num_tactics(); ++id) {
    const Tactic& row = tactic(id);
    const auto i = static_cast<size_t>(id);
    if (!family_runs_on(row.family, context.compute_capability)) continue;
    if (row.family == Family::kSm90Fp8 && !fp8_suits(desc, context.compute_capability)) continue;
    if (row.family == Family::kSm90Decode) {
      if (!decode_suits(row, desc, 1)) continue;
      const Sm90DecodeInstance kernels = sm90_decode_kernels(desc.weight_format);
      for (const Sm90DecodeKernel kernel : {kernels.gate_up, kernels.down}) {
        const auto* pointer = reinterpret_cast<const void*>(kernel);
        int32_t granted = 0;
        MOE4J_RETURN_IF_ERROR(
            allow_shared_memory(pointer, kSm90DecodeShared - kSm90BlockShared, &granted));
        // Kernels that split a multiprocessor's memory differently do not run there side by side.
        MOE4J_RETURN_IF_ERROR(cuda_status(
            cudaFuncSetAttribute(pointer, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared),
            "asking for shared memory"));
      }
      for (int64_t tokens = 1; decode_suits(row, desc, tokens); ++tokens) {
        plan->decode_blocks_[i][static_cast<size_t>(tokens - 1)] =
            plan_gate_up(row, desc, tokens).blocks * context.multiprocessors;
      }
      continue;
    }
    if (row.family == Family::kDecode) {
      const auto* kernel =
          reinterpret_cast<const void*>(decode_gate_up_kernel(row, desc.weight_format));
      for (int64_t tokens = 1; decode_suits(row, desc, tokens); ++tokens) {
        MOE4J_RETURN_IF_ERROR(count_blocks(
            kernel, kDecodeThreads, decode_shared_bytes(tokens, desc.hidden_size), kMaxDecodeShared,
            &plan->decode_blocks_[i][static_cast<size_t>(tokens - 1)]));
      }
      continue;
    }
    if (row.family == Family::kSm90Narrow) {
      const NarrowInstance instance = narrow_instance(row, desc.weight_format);
      for (int64_t tokens = 32; narrow_suits(desc, tokens); tokens += 32) {
        MOE4J_RETURN_IF_ERROR(
            count_blocks(reinterpret_cast<const void*>(instance.kernel), instance.threads,
                         instance.shared_bytes(tokens, experts), kSm90Shared,
                         &plan->narrow_blocks_[i][static_cast<size_t>(tokens / 32 - 1)]));
      }
      continue;
    }
    for (const Projection projection : {Projection::kGateUp, Projection::kDown}) {
      int32_t* const blocks = &plan->grouped_blocks_[i][projection == Projection::kDown];
      const GroupedInstance instance = grouped_instance(row, desc.weight_format, projection);
      MOE4J_RETURN_IF_ERROR(
          count_blocks(reinterpret_cast<const void*>(instance.kernel), instance.threads,
                       instance.shared_bytes + schedule_bytes(experts),
                       instance.shared_bytes + schedule_bytes(kMaxExperts + kMaxTopK), blocks));
    }
  }
  return Status::ok();
}

}  // namespace moe4j::cuda
