// The ten routing methods: one warp a token, logits in registers, ties to the lower id.
//
// A method is a score that ranks and a score that weighs, as on the host. Where the ranking score
// grows with the logit the logit itself ranks; sigmoid + bias is computed in F64, so that choices
// are those of the formulas. Loops stay rolled where they can: a kernel that runs for microseconds
// reads its instructions from memory, at the latency of memory. A NaN logit (or bias) takes its
// expert out of the competition.
#include <math_constants.h>

#include "cuda/gemm/epilogue.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {
namespace {

constexpr int kWarpsPerBlock = 4;
constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

enum class Weigh { kLogit, kSoftmax, kSigmoid };

__device__ __forceinline__ Weigh weigh(int32_t method) {
  switch (method) {
    case MOE4J_ROUTING_DEFAULT:
    case MOE4J_ROUTING_RENORMALIZE:
    case MOE4J_ROUTING_RENORMALIZE_NAIVE:
      return Weigh::kSoftmax;
    case MOE4J_ROUTING_TOP_K:
      return Weigh::kLogit;
    default:
      return Weigh::kSigmoid;
  }
}

/** The epsilon of a renormalizing method; negative for one that leaves weights alone. */
__device__ __forceinline__ double renormalization(int32_t method, bool norm_topk_prob) {
  switch (method) {
    case MOE4J_ROUTING_RENORMALIZE:
      return 0;
    case MOE4J_ROUTING_DEEPSEEK_V3:
    case MOE4J_ROUTING_MINIMAX2:
      return 1e-20;
    case MOE4J_ROUTING_RENORMALIZE_NAIVE:
      return norm_topk_prob ? 0 : -1;
    case MOE4J_ROUTING_SIGMOID_RENORM:
      return norm_topk_prob ? 1e-20 : -1;
    default:
      return -1;
  }
}

__device__ __forceinline__ bool has_bias(int32_t method) {
  return method == MOE4J_ROUTING_DEEPSEEK_V3 || method == MOE4J_ROUTING_MINIMAX2;
}

/** An image of a rank (no NaN) in the same order, never 0. */
__device__ __forceinline__ uint64_t key_of(double rank) {
  const int64_t bits = __double_as_longlong(rank + 0.0);  // no -0
  return static_cast<uint64_t>(bits < 0 ? ~bits : bits | INT64_MIN);
}

__device__ __forceinline__ double rank_of(uint64_t key) {
  const auto bits = static_cast<int64_t>(key);
  return __longlong_as_double(bits < 0 ? bits & INT64_MAX : ~bits);
}

struct Candidate {
  uint64_t key;
  int32_t id;  // INT32_MAX: none
};

/** The largest key, and of equal ones the lowest id. */
__device__ __forceinline__ Candidate best_of_warp(const Candidate& mine) {
  const auto high = static_cast<uint32_t>(mine.key >> 32);
  const uint32_t best_high = __reduce_max_sync(kAllLanes, high);
  const uint32_t low = high == best_high ? static_cast<uint32_t>(mine.key) : 0;
  const uint64_t best = uint64_t{best_high} << 32 | __reduce_max_sync(kAllLanes, low);
  return {best, __reduce_min_sync(kAllLanes, mine.key == best ? mine.id : INT32_MAX)};
}

__device__ __forceinline__ double sum_of_warp(double value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ __forceinline__ double max_of_warp(double value) {
  for (int step = 16; step > 0; step /= 2) {
    value = fmax(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

/** Lane l holds experts l, l + 32, ...: item i is expert l + 32 i. */
template <int kItems>
struct TokenScores {
  uint64_t key[kItems];  // of its rank; 0: not in the competition

  /** Of the experts that `accepts` says. */
  template <class Accepts>
  __device__ __forceinline__ Candidate best(int lane, Accepts&& accepts) const {
    Candidate best = {0, INT32_MAX};
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (key[i] > best.key && accepts(lane + 32 * i)) best = {key[i], lane + 32 * i};
    }
    return best_of_warp(best);
  }

  __device__ __forceinline__ void remove(int32_t id, int lane) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (lane + 32 * i == id) key[i] = 0;
    }
  }
};

/** Takes all but the topk_group best groups out; a group's score is the sum of its best two. */
template <int kItems>
__device__ void keep_groups(const LogitRouting& args, TokenScores<kItems>& scores, int lane,
                            double* group_scores) {
  const int32_t size = args.num_experts / args.n_group;
#pragma unroll 1
  for (int32_t group = 0; group < args.n_group; ++group) {
    const int32_t begin = group * size;
    const auto is_member = [&](int32_t e) { return e >= begin && e < begin + size; };
    const Candidate first = scores.best(lane, is_member);
    const Candidate second =
        scores.best(lane, [&](int32_t e) { return is_member(e) && e != first.id; });
    if (lane == 0) {
      group_scores[group] = first.id == INT32_MAX ? -CUDART_INF
                            : second.id == INT32_MAX
                                ? (size == 1 ? rank_of(first.key) : -CUDART_INF)
                                : rank_of(first.key) + rank_of(second.key);
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if (scores.key[i] == 0) continue;
    const int32_t group = (lane + 32 * i) / size;
    int32_t better = 0;
#pragma unroll 1
    for (int32_t other = 0; other < args.n_group; ++other) {
      better += group_scores[other] > group_scores[group] ||
                (group_scores[other] == group_scores[group] && other < group);
    }
    if (better >= args.topk_group) scores.key[i] = 0;
  }
}

template <int kItems>
__global__ void __launch_bounds__(kWarpsPerBlock * 32) route(const LogitRouting args) {
  extern __shared__ double group_scores[];  // [warp][n_group]
  grid_dependency_wait();
  grid_dependency_launch();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + warp;
  if (token >= args.tokens) return;

  float logits[kItems];
  TokenScores<kItems> scores;
  double largest = -CUDART_INF;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int32_t e = lane + 32 * i;
    logits[i] = 0;
    scores.key[i] = 0;
    if (e >= args.num_experts) continue;
    const int64_t index = token * args.num_experts + e;
    logits[i] = args.logits_are_bf16 ? load_bf16(static_cast<const uint16_t*>(args.logits) + index)
                                     : static_cast<const float*>(args.logits)[index];
    double rank = logits[i];
    if (has_bias(args.method)) {
      rank = 1 / (1 + exp(-rank));
      if (args.bias != nullptr) rank += static_cast<double>(args.bias[e]);
    }
    if (isnan(rank) || isnan(logits[i])) continue;
    scores.key[i] = key_of(rank);
    largest = fmax(largest, static_cast<double>(logits[i]));
  }

  // Softmax: several infinite logits share it.
  double softmax_sum = 1;
  if (weigh(args.method) == Weigh::kSoftmax) {
    largest = max_of_warp(largest);
    softmax_sum = 0;
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (scores.key[i] == 0) continue;
      softmax_sum += logits[i] == largest ? 1.0 : exp(static_cast<double>(logits[i]) - largest);
    }
    softmax_sum = sum_of_warp(softmax_sum);
  }
  if (args.n_group > 1) {
    keep_groups(args, scores, lane, group_scores + warp * args.n_group);
  }

  // Lane s keeps slot s.
  int32_t my_id = -1;
#pragma unroll 1
  for (int32_t s = 0; s < args.top_k; ++s) {
    const Candidate best = scores.best(lane, [](int32_t) { return true; });
    if (best.id == INT32_MAX) break;
    scores.remove(best.id, lane);
    if (lane == s) my_id = best.id;
  }
  double weight = 0;
  if (my_id >= 0) {
    const int64_t index = token * args.num_experts + my_id;
    const double logit = args.logits_are_bf16
                             ? load_bf16(static_cast<const uint16_t*>(args.logits) + index)
                             : static_cast<const float*>(args.logits)[index];
    switch (weigh(args.method)) {
      case Weigh::kLogit:
        weight = logit;
        break;
      case Weigh::kSoftmax:
        weight = (logit == largest ? 1.0 : exp(logit - largest)) / softmax_sum;
        break;
      case Weigh::kSigmoid:
        weight = 1 / (1 + exp(-logit));
        break;
    }
  }
  const double epsilon = renormalization(args.method, args.norm_topk_prob);
  double factor = has_bias(args.method) ? static_cast<double>(args.routed_scaling_factor) : 1.0;
  if (epsilon >= 0) factor /= sum_of_warp(weight) + epsilon;
  if (lane < args.top_k) {
    args.ids[token * args.top_k + lane] = my_id;
    args.weights[token * args.top_k + lane] =
        my_id >= 0 ? static_cast<float>(weight * factor) : 0.0f;
  }
}

constexpr int kExportThreads = 256;

__global__ void __launch_bounds__(kExportThreads)
    export_routing(const Routing routing, const RoutingOutputs outputs) {
  grid_dependency_wait();
  grid_dependency_launch();
  const int32_t slots = routing.slots();
  const int64_t expanded = static_cast<int64_t>(blockIdx.x) * kExportThreads + threadIdx.x;
  if (expanded >= routing.tokens * slots) return;
  const int64_t token = expanded / slots;
  const auto slot = static_cast<int32_t>(expanded % slots);
  const float weight = slot_weight(routing, token, slot);
  if (outputs.expert_weights != nullptr) outputs.expert_weights[expanded] = weight;
  if (slot >= routing.top_k) return;
  const int64_t chosen = token * routing.top_k + slot;
  const int32_t id = routed_id(routing, chosen);
  if (outputs.replay != nullptr) outputs.replay[chosen] = static_cast<int16_t>(id);
  if (outputs.ids != nullptr) outputs.ids[chosen] = id;
  if (outputs.weights != nullptr) outputs.weights[chosen] = weight;
}

}  // namespace

void launch_route(Chain& chain, const LogitRouting& args) {
  const dim3 grid(static_cast<unsigned>(ceil_div(args.tokens, kWarpsPerBlock)));
  const int groups = args.n_group > 1 ? args.n_group : 0;
  const int shared_bytes = kWarpsPerBlock * groups * static_cast<int>(sizeof(double));
  const auto kernel = args.num_experts <= 128   ? route<4>
                      : args.num_experts <= 256 ? route<8>
                      : args.num_experts <= 512 ? route<16>
                                                : route<32>;
  chain.launch("route", kernel, grid, kWarpsPerBlock * 32, shared_bytes, args);
}

void launch_export_routing(Chain& chain, const Routing& routing, const RoutingOutputs& outputs) {
  const dim3 grid(
      static_cast<unsigned>(ceil_div(routing.tokens * routing.slots(), kExportThreads)));
  chain.launch("export_routing", export_routing, grid, kExportThreads, 0, routing, outputs);
}

}  // namespace moe4j::cuda
