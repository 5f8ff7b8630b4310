// The ten routing methods: one warp a token, ranks in registers, ties to the lower id.
//
// A method is a score that ranks and a score that weighs, as on the host. Where the ranking score
// grows with the logit the logit itself ranks; sigmoid + bias is computed in F64, so that choices
// are those of the formulas. A kernel that runs for microseconds reads its instructions from
// memory, at the latency of memory: so exponentials and divisions, hundreds of bytes each, are a
// function or in loops that stay rolled. A NaN logit (or bias) takes its expert out of the
// competition.
#include <math_constants.h>

#include <type_traits>

#include "cuda/gemm/epilogue.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {
namespace {

constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

enum class Weigh { kLogit, kSoftmax, kSigmoid };

__device__ __forceinline__ Weigh weigh_of(int32_t method) {
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

/** What a logit weighs, before softmax divides by the sum; several infinite logits share it. */
__device__ __noinline__ double weight_of(Weigh weigh, double logit, double largest) {
  if (weigh == Weigh::kLogit) return logit;
  const bool softmax = weigh == Weigh::kSoftmax;
  const double power = exp(!softmax ? -logit : logit == largest ? 0 : logit - largest);
  return softmax ? power : 1 / (1 + power);
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

/** Lane l holds experts l, l + 32, ...: item i is expert l + 32 i. */
template <int kItems>
struct TokenScores {
  int lane;
  uint64_t key[kItems];  // of its rank; 0: not in the competition

  __device__ __forceinline__ Candidate best() const {
    Candidate best = {0, INT32_MAX};
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (key[i] > best.key) best = {key[i], lane + 32 * i};
    }
    return best_of_warp(best);
  }

  __device__ __forceinline__ void remove(int32_t id) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (lane + 32 * i == id) key[i] = 0;
    }
  }
};

/** The best two of some ranks. */
struct BestTwo {
  double best;
  double second;

  __device__ __forceinline__ void add(double rank) {
    if (rank > best) {
      second = best;
      best = rank;
    } else if (rank > second) {
      second = rank;
    }
  }
};

/**
 * Takes all but the topk_group best groups out: their ranks become NaN. A group's score is the sum
 * of its best two. Lanes share out the groups and their members.
 */
__device__ __forceinline__ void keep_groups(const LogitRouting& args, int lane, double* ranks,
                                            double* group_scores) {
  const int32_t groups = args.n_group;
  const int32_t size = args.num_experts / groups;
  int32_t team = 32;  // lanes of a group
  while (team > 1 && team * groups > 32) team /= 2;
  const int32_t begin = lane / team * team % size;  // teams begin at different banks
#pragma unroll 1
  for (int32_t first = 0; first < groups; first += 32 / team) {
    const int32_t group = first + lane / team;
    BestTwo mine = {-CUDART_INF, -CUDART_INF};
    if (group < groups) {
#pragma unroll 1
      for (int32_t i = lane % team; i < size; i += team) {
        const int32_t member = begin + i;
        mine.add(ranks[group * size + (member < size ? member : member - size)]);
      }
    }
#pragma unroll 1
    for (int32_t step = 1; step < team; step *= 2) {
      const double best = __shfl_xor_sync(kAllLanes, mine.best, step);
      const double second = __shfl_xor_sync(kAllLanes, mine.second, step);
      mine.add(best);
      mine.add(second);
    }
    if (size == 1) mine.second = 0;
    if (group < groups && lane % team == 0) group_scores[group] = mine.best + mine.second;
  }
  __syncwarp();
  uint32_t kept = 0;  // bit i: group lane + 32 i
#pragma unroll 1
  for (int32_t i = 0; lane + 32 * i < groups; ++i) {
    const int32_t group = lane + 32 * i;
    int32_t better = 0;
#pragma unroll 1
    for (int32_t other = 0; other < groups; ++other) {
      better += group_scores[other] > group_scores[group] ||
                (group_scores[other] == group_scores[group] && other < group);
    }
    if (better < args.topk_group) kept |= 1u << i;
  }
  __syncwarp();
#pragma unroll 1
  for (int32_t i = 0; lane + 32 * i < groups; ++i) group_scores[lane + 32 * i] = kept >> i & 1;
  __syncwarp();
#pragma unroll 1
  for (int32_t e = lane; e < args.num_experts; e += 32) {
    if (group_scores[e / size] == 0) ranks[e] = CUDART_NAN;
  }
}

/** Tokens of a block: their ranks and group scores fit in 48 KB of shared memory. */
template <int kItems>
constexpr int kTokensPerBlock = kItems <= 16 ? 4 : 2;

template <int kItems>
__global__ void __launch_bounds__(kTokensPerBlock<kItems> * 32) route(const LogitRouting args) {
  extern __shared__ double shared[];  // [warp] of ranks [E], group scores [n_group]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  double* const ranks = shared + warp * (args.num_experts + args.n_group);
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock<kItems> + warp;
  const bool has_token = token < args.tokens;
  grid_dependency_wait();
  const auto logit_of = [&](int32_t e) {
    const int64_t index = token * args.num_experts + e;
    return args.logits_are_bf16 ? load_bf16(static_cast<const uint16_t*>(args.logits) + index)
                                : static_cast<const float*>(args.logits)[index];
  };
  const Weigh weigh = weigh_of(args.method);
  const bool biased = has_bias(args.method) && args.bias != nullptr;

  float logits[kItems];
  float bias[kItems];
  float largest = -CUDART_INF_F;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int32_t e = lane + 32 * i;
    logits[i] = has_token && e < args.num_experts ? logit_of(e) : CUDART_NAN_F;
    bias[i] = biased && e < args.num_experts ? args.bias[e] : 0.0f;
  }
  if (args.counter_count > 0) {
    for (auto i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
         i < args.counter_count; i += static_cast<int32_t>(gridDim.x * blockDim.x)) {
      args.counters[i] = 0;
    }
    __threadfence();  // the next kernel uses them before it waits
    __syncthreads();
  }
  grid_dependency_launch();
  if (!has_token) return;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    largest = fmaxf(largest, logits[i]);
    if (lane + 32 * i < args.num_experts) ranks[lane + 32 * i] = static_cast<double>(logits[i]);
  }
  for (int step = 16; step > 0; step /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
  }

  double softmax_sum = 1;
  if (weigh == Weigh::kSoftmax || has_bias(args.method)) {
    double sum = 0;
#pragma unroll 2
    for (int i = 0; i < kItems; ++i) {
      const int32_t e = lane + 32 * i;
      if (e >= args.num_experts) continue;
      const double weight = weight_of(weigh, ranks[e], static_cast<double>(largest));
      if (has_bias(args.method)) ranks[e] = weight;
      if (!isnan(weight)) sum += weight;
    }
    if (weigh == Weigh::kSoftmax) softmax_sum = sum_of_warp(sum);
  }
  if (biased) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (lane + 32 * i < args.num_experts) ranks[lane + 32 * i] += static_cast<double>(bias[i]);
    }
  }
  __syncwarp();
  if (args.n_group > 1) keep_groups(args, lane, ranks, ranks + args.num_experts);
  TokenScores<kItems> scores;
  scores.lane = lane;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int32_t e = lane + 32 * i;
    const double rank = e < args.num_experts ? ranks[e] : CUDART_NAN;
    scores.key[i] = isnan(rank) ? 0 : key_of(rank);
  }

  // Lane s keeps slot s.
  int32_t my_id = -1;
#pragma unroll 1
  for (int32_t s = 0; s < args.top_k; ++s) {
    const Candidate best = scores.best();
    if (best.id == INT32_MAX) break;
    scores.remove(best.id);
    if (lane == s) my_id = best.id;
  }
  double weight = 0;
  if (my_id >= 0) {
    weight = weight_of(weigh, static_cast<double>(logit_of(my_id)), static_cast<double>(largest));
  }
  weight /= softmax_sum;
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
  const auto launch = [&](auto items) {
    constexpr int kItems = decltype(items)::value;
    constexpr int kTokens = kTokensPerBlock<kItems>;
    const dim3 grid(static_cast<unsigned>(ceil_div(args.tokens, kTokens)));
    const auto shared_bytes = kTokens * (args.num_experts + args.n_group) * sizeof(double);
    chain.launch("route", route<kItems>, grid, kTokens * 32, static_cast<int>(shared_bytes), args);
  };
  if (args.num_experts <= 128) {
    launch(std::integral_constant<int, 4>{});
  } else if (args.num_experts <= 256) {
    launch(std::integral_constant<int, 8>{});
  } else if (args.num_experts <= 512) {
    launch(std::integral_constant<int, 16>{});
  } else {
    launch(std::integral_constant<int, 32>{});
  }
}

void launch_export_routing(Chain& chain, const Routing& routing, const RoutingOutputs& outputs) {
  const dim3 grid(
      static_cast<unsigned>(ceil_div(routing.tokens * routing.slots(), kExportThreads)));
  chain.launch("export_routing", export_routing, grid, kExportThreads, 0, routing, outputs);
}

}  // namespace moe4j::cuda
