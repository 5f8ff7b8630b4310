// Orders (token, slot) pairs by expert, then token: count, scan and scatter in one kernel.
//
// Block e belongs to local expert e. It reads all ids twice: once to count the pairs of lower
// experts (its first row) and its own, once to place its own, in token order. Blocks need nothing
// of each other, so there is no second kernel, no atomic and no order that could change from run to
// run; the ids come from L2 and L1. A warp owns a range of tokens, so that both passes need one
// barrier together.
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {
namespace {

constexpr int kWarps = 16;
constexpr int kBatch = 4;  // loads in flight a thread
constexpr uint32_t kAllLanes = 0xFFFFFFFFu;
constexpr int32_t kNoSlot = -2;  // of lanes that hold no (token, slot) at all

/** Lanes of a warp hold the slots of 32 / k whole tokens; steps walk the warp's range of tokens. */
class SlotReader {
 public:
  __device__ SlotReader(const Routing& routing, int warp, int lane) : routing_(routing) {
    const int32_t tokens_a_step = 32 / routing.top_k;
    const int64_t steps = ceil_div(routing.tokens, tokens_a_step);
    steps_ = ceil_div(steps, kWarps);
    token_in_step_ = lane / routing.top_k;
    slot_ = lane % routing.top_k;
    active_ = token_in_step_ < tokens_a_step;
    stride_ = tokens_a_step;
    token_ = static_cast<int64_t>(warp) * steps_ * tokens_a_step + token_in_step_;
  }

  __device__ int32_t steps() const { return steps_; }
  __device__ int32_t slot() const { return slot_; }
  __device__ int64_t token(int32_t step) const {
    return token_ + static_cast<int64_t>(step) * stride_;
  }

  /** Global id at a step, any number where there is none. */
  __device__ int32_t id(int32_t step) const {
    return holds_slot(step) ? routed_id(routing_, token(step) * routing_.top_k + slot_) : 0;
  }

  /** Local expert, -1 where the slot contributes nothing, kNoSlot. Called by whole warps. */
  __device__ int32_t expert(int32_t step, int32_t id) const {
    const bool holds = holds_slot(step);
    const int32_t local = local_expert(routing_, id);
    // The first slot of a token with this expert wins. A key cannot collide: 32 tokens, 1024 ids.
    const uint32_t key = holds && local >= 0
                             ? static_cast<uint32_t>(token_in_step_ * 2048 + local)
                             : 0x10000u + threadIdx.x % 32;
    const uint32_t same = __match_any_sync(kAllLanes, key);
    const bool first = (same & ((1u << (threadIdx.x % 32)) - 1)) == 0;
    if (!holds) return kNoSlot;
    return first ? local : -1;
  }

 private:
  __device__ bool holds_slot(int32_t step) const {
    return active_ && step < steps_ && token(step) < routing_.tokens;
  }

  const Routing& routing_;
  int64_t token_;
  int32_t stride_;
  int32_t steps_;
  int32_t token_in_step_;
  int32_t slot_;
  bool active_;
};

/** `shift`: from the expert's rows to where they are stored. */
__device__ void place(const Permutation& out, int64_t token, int64_t pair, int32_t row,
                      int32_t shift) {
  out.row_token[row] = static_cast<int32_t>(token);
  out.row_storage[row] = row + shift;
  out.row_pair[row] = static_cast<int32_t>(pair);
  out.pair_row[pair] = row;
}

__global__ void __launch_bounds__(kWarps * 32, 1)
    permute(const Routing routing, const Permutation out) {
  __shared__ int32_t lower[kWarps];  // pairs of lower experts among each warp's tokens
  __shared__ int32_t own[kWarps];
  grid_dependency_wait();
  grid_dependency_launch();
  const auto expert = static_cast<int32_t>(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const SlotReader slots(routing, warp, lane);

  int32_t lower_count = 0;
  int32_t own_count = 0;
  for (int32_t step = 0; step < slots.steps(); step += kBatch) {
    int32_t ids[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) ids[i] = slots.id(step + i);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t local = slots.expert(step + i, ids[i]);
      lower_count += __popc(__ballot_sync(kAllLanes, local >= 0 && local < expert));
      own_count += __popc(__ballot_sync(kAllLanes, local == expert));
    }
  }
  if (lane == 0) {
    lower[warp] = lower_count;
    own[warp] = own_count;
  }
  __syncthreads();
  int32_t first = 0;
  int32_t row = 0;
  int32_t end = 0;
  for (int w = 0; w < kWarps; ++w) {
    first += lower[w];
    if (w < warp) row += own[w];
    end += own[w];
  }
  // A shared expert's rows follow all routed pairs and the tokens of the shared ones before it.
  const int32_t shared_before = max(0, expert - routing.local_experts);
  first += shared_before * static_cast<int32_t>(routing.tokens);
  row += first;
  end += first;

  const int32_t shift = storage_begin(first, expert) - first;

  if (expert >= routing.local_experts) {
    end = first + static_cast<int32_t>(routing.tokens);
    for (int32_t t = static_cast<int32_t>(threadIdx.x); t < routing.tokens; t += kWarps * 32) {
      const int64_t slot = routing.top_k + shared_before;
      place(out, t, static_cast<int64_t>(t) * routing.slots() + slot, first + t, shift);
    }
  }
  if (threadIdx.x == 0) {
    out.offsets[expert] = first;
    if (blockIdx.x == gridDim.x - 1) out.offsets[expert + 1] = end;
  }

  for (int32_t step = 0; step < slots.steps(); step += kBatch) {
    int32_t ids[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) ids[i] = slots.id(step + i);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t local = slots.expert(step + i, ids[i]);
      const int64_t token = slots.token(step + i);
      const int64_t pair = token * routing.slots() + slots.slot();
      const uint32_t mine = __ballot_sync(kAllLanes, local == expert);
      if (local == expert) place(out, token, pair, row + __popc(mine & ((1u << lane) - 1)), shift);
      row += __popc(mine);
      if (expert == 0 && local == -1) out.pair_row[pair] = -1;
    }
  }
}

}  // namespace

Status kernel_architecture(int32_t* architecture) {
  cudaFuncAttributes attributes;
  MOE4J_RETURN_IF_ERROR(
      cuda_status(cudaFuncGetAttributes(&attributes, permute), "looking for kernels of the device"));
  *architecture = attributes.ptxVersion;
  return Status::ok();
}

void launch_permute(Chain& chain, const Routing& routing, const Permutation& permutation) {
  chain.launch("permute", permute, dim3(static_cast<unsigned>(routing.experts())), kWarps * 32, 0,
               routing, permutation);
}

}  // namespace moe4j::cuda
