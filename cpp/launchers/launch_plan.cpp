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

namespace {

/**
 * How many blocks of a kernel the device holds, 0 where one does not fit. `most_shared` is of all
 * layers, since the kernel is everybody's.
 */
Status count_blocks(const CudaContext& context, const void* kernel, int32_t threads, int32_t shared,
                    int32_t most_shared, int32_t* blocks) {
  int32_t granted = 0;
  MOE4J_RETURN_IF_ERROR(allow_shared_memory(kernel, most_shared, &granted));
  *blocks = 0;
  if (shared > granted) return Status::ok();
  int per_multiprocessor = 0;
  MOE4J_RETURN_IF_ERROR(
      cuda_status(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                      &per_multiprocessor, kernel, threads, static_cast<size_t>(shared)),
                  "asking for the occupancy"));
  *blocks = per_multiprocessor * context.multiprocessors;
  return Status::ok();
}

}  // namespace

Status LaunchPlan::make(const CudaContext& context, const moe4j_layer_desc& desc,
                        LaunchPlan* plan) {
  plan->grouped_blocks_.assign(static_cast<size_t>(num_tactics()), {});
  plan->narrow_blocks_.assign(static_cast<size_t>(num_tactics()), {});
  plan->decode_blocks_.assign(static_cast<size_t>(num_tactics()), {});
  for (int32_t id = 0; id < num_tactics(); ++id) {
    const Family family = tactic(id).family;
    if (!family_runs_on(family, context.compute_capability)) continue;
    if (family == Family::kSm90Fp8 && !fp8_suits(desc, context.compute_capability)) continue;
    MOE4J_RETURN_IF_ERROR(family == Family::kSm90Decode ? plan->make_sm90_decode(context, desc, id)
                          : family == Family::kDecode   ? plan->make_decode(context, desc, id)
                          : family == Family::kSm90Narrow ? plan->make_narrow(context, desc, id)
                                                          : plan->make_grouped(context, desc, id));
  }
  return Status::ok();
}

Status LaunchPlan::make_sm90_decode(const CudaContext& context, const moe4j_layer_desc& desc,
                                    int32_t id) {
  if (!decode_suits(tactic(id), desc, 1)) return Status::ok();
  const Sm90DecodeInstance kernels = sm90_decode_kernels(desc.weight_format);
  for (const Sm90DecodeKernel kernel : {kernels.gate_up, kernels.down}) {
    const auto* pointer = reinterpret_cast<const void*>(kernel);
    int32_t granted = 0;
    MOE4J_RETURN_IF_ERROR(
        allow_shared_memory(pointer, kSm90DecodeShared - kSm90BlockShared, &granted));
    // Kernels that split a multiprocessor's memory differently do not run there side by side.
    MOE4J_RETURN_IF_ERROR(
        cuda_status(cudaFuncSetAttribute(pointer, cudaFuncAttributePreferredSharedMemoryCarveout,
                                         cudaSharedmemCarveoutMaxShared),
                    "asking for shared memory"));
  }
  for (int64_t tokens = 1; decode_suits(tactic(id), desc, tokens); ++tokens) {
    decode_blocks_[static_cast<size_t>(id)][static_cast<size_t>(tokens - 1)] =
        plan_gate_up(tactic(id), desc, tokens).blocks * context.multiprocessors;
  }
  return Status::ok();
}

Status LaunchPlan::make_decode(const CudaContext& context, const moe4j_layer_desc& desc,
                               int32_t id) {
  const auto* kernel =
      reinterpret_cast<const void*>(decode_gate_up_kernel(tactic(id), desc.weight_format));
  for (int64_t tokens = 1; decode_suits(tactic(id), desc, tokens); ++tokens) {
    MOE4J_RETURN_IF_ERROR(
        count_blocks(context, kernel, kDecodeThreads, decode_shared_bytes(tokens, desc.hidden_size),
                     kMaxDecodeShared,
                     &decode_blocks_[static_cast<size_t>(id)][static_cast<size_t>(tokens - 1)]));
  }
  return Status::ok();
}

Status LaunchPlan::make_narrow(const CudaContext& context, const moe4j_layer_desc& desc,
                               int32_t id) {
  const NarrowInstance instance = narrow_instance(tactic(id), desc.weight_format);
  for (int64_t tokens = 32; narrow_suits(desc, tokens); tokens += 32) {
    MOE4J_RETURN_IF_ERROR(count_blocks(
        context, reinterpret_cast<const void*>(instance.kernel), instance.threads,
        instance.shared_bytes(tokens, num_held_experts(desc)), kSm90Shared,
        &narrow_blocks_[static_cast<size_t>(id)][static_cast<size_t>(tokens / 32 - 1)]));
  }
  return Status::ok();
}

Status LaunchPlan::make_grouped(const CudaContext& context, const moe4j_layer_desc& desc,
                                int32_t id) {
  for (const Projection projection : {Projection::kGateUp, Projection::kDown}) {
    const GroupedInstance instance = grouped_instance(tactic(id), desc.weight_format, projection);
    MOE4J_RETURN_IF_ERROR(
        count_blocks(context, reinterpret_cast<const void*>(instance.kernel), instance.threads,
                     instance.shared_bytes + schedule_bytes(num_held_experts(desc)),
                     instance.shared_bytes + schedule_bytes(kMaxExperts + kMaxTopK),
                     &grouped_blocks_[static_cast<size_t>(id)][projection == Projection::kDown]));
  }
  return Status::ok();
}

}  // namespace moe4j::cuda
