// The ten routing methods: one warp a token, ranks in registers, ties to the lower id.
//
// A method is a score that ranks and a score that weighs, as on the host. Where the ranking score
// grows with the logit the logit itself ranks; sigmoid + bias is computed in F64, so that choices
// are those of the formulas, and what it weighs in F32. A kernel that runs for microseconds reads
// its instructions from memory, at the latency of memory: so F64's exponential and division,
// hundreds of bytes each, are in a loop that stays rolled. A NaN logit (or bias) takes its expert
// out of the competition.
#include <math_constants.h>

#include <type_traits>

#include "cuda/bf16.cuh"
#include "cuda/kernels.hpp"
#include "cuda/ptx/grid_dependency.cuh"
#include "cuda/routing.cuh"

namespace moe4j::cuda {
namespace {

constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

/**
 * What a logit weighs, before softmax divides by the sum; several infinite logits share it. 0 for a
 * NaN and softmax, whose difference is exact: it comes in two parts.
 */
__device__ __forceinline__ float weight_of(Score weighs, float logit, float largest) {
  if (weighs == Score::kLogit) return logit;
  if (weighs == Score::kSigmoid) return 1 / (1 + expf(-logit));
  const float below = logit - largest;
  const float back = below - logit;
  const float rest = (logit - (below - back)) - (largest + back);
  const float power = expf(below);
  return logit == largest ? 1.0f : power > 0 ? fmaf(power, rest, power) : 0.0f;
}

/** Images of a rank (no NaN) in the same order, never 0. */
__device__ __forceinline__ uint32_t key_of(float rank) {
  const int32_t bits = __float_as_int(rank + 0.0f);  // no -0
  return static_cast<uint32_t>(bits < 0 ? ~bits : bits | INT32_MIN);
}

__device__ __forceinline__ uint64_t key_of(double rank) {
  const int64_t bits = __double_as_longlong(rank + 0.0);
  return static_cast<uint64_t>(bits < 0 ? ~bits : bits | INT64_MIN);
}

__device__ __forceinline__ uint32_t largest_of_warp(uint32_t key) {
  return __reduce_max_sync(kAllLanes, key);
}

__device__ __forceinline__ uint64_t largest_of_warp(uint64_t key) {
  const auto high = static_cast<uint32_t>(key >> 32);
  const uint32_t best_high = __reduce_max_sync(kAllLanes, high);
  const uint32_t low = high == best_high ? static_cast<uint32_t>(key) : 0;
  return uint64_t{best_high} << 32 | __reduce_max_sync(kAllLanes, low);
}

__device__ __forceinline__ float sum_of_warp(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

/** Lane l holds experts l, l + 32, ...: item i is expert l + 32 i. */
template <int kItems, class Key>
struct TokenScores {
  int lane;
  Key key[kItems];  // of its rank; 0: not in the competition

  /** The expert with the largest key, of equal ones the lowest; INT32_MAX for none. */
  __device__ __forceinline__ int32_t best() const {
    Key largest = 0;
    int32_t id = INT32_MAX;
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if (key[i] > largest) {
        largest = key[i];
        id = lane + 32 * i;
      }
    }
    return __reduce_min_sync(kAllLanes, largest == largest_of_warp(largest) ? id : INT32_MAX);
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

/** sigmoid(logit) + bias of a token's experts, and NaN for those that cannot be chosen. */
template <int kItems>
__device__ __forceinline__ void rank_with_bias(const LogitRouting& args, int lane,
                                               const float (&logits)[kItems],
                                               const float (&bias)[kItems], double* ranks) {
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if (lane + 32 * i < args.num_experts) ranks[lane + 32 * i] = static_cast<double>(logits[i]);
  }
#pragma unroll 2
  for (int32_t e = lane; e < args.num_experts; e += 32) ranks[e] = 1 / (1 + exp(-ranks[e]));
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if (lane + 32 * i < args.num_experts) ranks[lane + 32 * i] += static_cast<double>(bias[i]);
  }
  __syncwarp();
  if (args.n_group > 1) keep_groups(args, lane, ranks, ranks + args.num_experts);
}

/** By the whole grid, before it lets the next kernel start, which uses them before it waits. */
__device__ __forceinline__ void zero_counters(int32_t* counters, int32_t count) {
  for (auto i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x); i < count;
       i += static_cast<int32_t>(gridDim.x * blockDim.x)) {
    counters[i] = 0;
  }
  __threadfence();
  __syncthreads();
}

constexpr int kClearThreads = 256;

__global__ void __launch_bounds__(kClearThreads) clear(int32_t* counters, int32_t count) {
  grid_dependency_wait();
  zero_counters(counters, count);
  grid_dependency_launch();
}

/** Tokens of a block: their ranks and group scores fit in 48 KB of shared memory. */
template <int kItems>
constexpr int kTokensPerBlock = kItems <= 16 ? 4 : 2;

/** kHasBias: LogitRouting::has_bias. */
template <int kItems, bool kHasBias>
__global__ void __launch_bounds__(kTokensPerBlock<kItems> * 32) route(const LogitRouting args) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock<kItems> + warp;
  const bool has_token = token < args.tokens;
  grid_dependency_wait();
  const auto logit_of = [&](int32_t e) {
    return load_element(args.logits, args.logits_are_bf16, token * args.num_experts + e);
  };
  float logits[kItems];
  float bias[kItems];
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int32_t e = lane + 32 * i;
    logits[i] = has_token && e < args.num_experts ? logit_of(e) : CUDART_NAN_F;
    bias[i] = kHasBias && args.bias != nullptr && e < args.num_experts ? args.bias[e] : 0.0f;
  }
  if (args.counter_count > 0) zero_counters(args.counters, args.counter_count);
  grid_dependency_launch();
  if (!has_token) return;

  TokenScores<kItems, std::conditional_t<kHasBias, uint64_t, uint32_t>> scores;
  scores.lane = lane;
  if constexpr (kHasBias) {
    extern __shared__ double shared[];  // [warp] of ranks [E], group scores [n_group]
    double* const ranks = shared + warp * (args.num_experts + args.n_group);
    rank_with_bias(args, lane, logits, bias, ranks);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int32_t e = lane + 32 * i;
      const double rank = e < args.num_experts ? ranks[e] : CUDART_NAN;
      scores.key[i] = isnan(rank) ? 0 : key_of(rank);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kItems; ++i) scores.key[i] = isnan(logits[i]) ? 0 : key_of(logits[i]);
  }

  // Lane s keeps slot s.
  int32_t my_id = -1;
#pragma unroll 1
  for (int32_t s = 0; s < args.top_k; ++s) {
    const int32_t best = scores.best();
    if (best == INT32_MAX) break;
    scores.remove(best);
    if (lane == s) my_id = best;
  }
  if (lane < args.top_k) args.ids[token * args.top_k + lane] = my_id;

  const float logit = my_id >= 0 ? logit_of(my_id) : 0.0f;
  const float largest = __shfl_sync(kAllLanes, logit, 0);  // softmax chooses it first
  float weight = my_id >= 0 ? weight_of(args.weighs, logit, largest) : 0.0f;
  if (args.weighs == Score::kSoftmax) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kItems; ++i) sum += weight_of(args.weighs, logits[i], largest);
    weight /= sum_of_warp(sum);
  }
  float factor = kHasBias ? args.routed_scaling_factor : 1.0f;
  if (args.renormalizes) factor /= sum_of_warp(weight) + args.epsilon;
  if (lane < args.top_k) {
    args.weights[token * args.top_k + lane] = my_id >= 0 ? weight * factor : 0.0f;
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
    const auto rank_bytes = kTokens * (args.num_experts + args.n_group) * sizeof(double);
    chain.launch("route", args.has_bias ? route<kItems, true> : route<kItems, false>, grid,
                 kTokens * 32, args.has_bias ? static_cast<int>(rank_bytes) : 0, args);
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

void launch_clear(Chain& chain, int32_t* counters, int32_t count) {
  chain.launch("clear", clear, dim3(1), kClearThreads, 0, counters, count);
}

void launch_export_routing(Chain& chain, const Routing& routing, const RoutingOutputs& outputs) {
  const dim3 grid(
      static_cast<unsigned>(ceil_div(routing.tokens * routing.slots(), kExportThreads)));
  chain.launch("export_routing", export_routing, grid, kExportThreads, 0, routing, outputs);
}

}  // namespace moe4j::cuda
