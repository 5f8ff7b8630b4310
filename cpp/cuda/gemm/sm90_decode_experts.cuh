// Which experts a launch of few tokens needs, found out by one warp of every block.
#pragma once

#include <cstdint>

#include "cuda/gemm/sm90_decode.hpp"
#include "cuda/routing.cuh"

namespace moe4j::cuda {

/**
 * Lists the distinct local experts of a launch, in the order in which tokens name them. One warp,
 * which calls `meanwhile` while the first ids are on their way.
 */
template <class Meanwhile>
__device__ __forceinline__ int32_t list_experts(const Sm90DecodeLayer& layer, ChosenExpert* list,
                                                int lane, const Meanwhile& meanwhile) {
  const Routing& routing = layer.routing;
  const int32_t slots = routing.slots();
  const int32_t tokens_a_round = layer.tokens_a_round;
  const int32_t in_round = layer.by_slots.divide(lane);
  const int32_t slot = lane - in_round * slots;
  const uint32_t token_lanes = (0xFFFFFFFFu >> (32 - routing.top_k)) << (in_round * slots);
  const uint32_t lanes_before = (1u << lane) - 1;
  const auto tokens = static_cast<int32_t>(routing.tokens);
  int32_t count = 0;
#pragma unroll 1
  for (int32_t first = 0; first < tokens; first += tokens_a_round) {
    const int32_t token = first + in_round;
    const bool is_pair = in_round < tokens_a_round && token < tokens;
    const bool is_routed = is_pair && slot < routing.top_k;
    int32_t id = 0;
    float weight = 1.0f;
    if (is_routed) {
      id = routed_id(routing, token * routing.top_k + slot);
      weight = routed_weight(routing, token * routing.top_k + slot);
    }
    if (first == 0) meanwhile();
    // Shared slots differ from each other and from all ids.
    const uint32_t same =
        __match_any_sync(0xFFFFFFFFu, is_routed ? id : routing.num_experts + slot);
    int32_t expert = -1;
    if (is_routed) {
      const bool repeats = (same & token_lanes & lanes_before) != 0;
      if (!repeats) expert = local_expert(routing, id);
    } else if (is_pair) {
      expert = shared_expert(routing, slot);
    }
    const uint32_t with_expert = same & __ballot_sync(0xFFFFFFFFu, expert >= 0);
    const int leader = __ffs(static_cast<int>(with_expert)) - 1;
    int32_t index = -1;
#pragma unroll 1
    for (int32_t i = 0; i < count; ++i) {  // earlier rounds'
      if (list[i].expert == expert) index = i;
    }
    const bool is_new = expert >= 0 && index < 0;
    const uint32_t leaders = __ballot_sync(0xFFFFFFFFu, is_new && lane == leader);
    if (is_new) index = count + __popc(leaders & ((1u << leader) - 1));
    if (is_new && lane == leader) {
      list[index].expert = expert;
      list[index].tokens = 0;
      for (int8_t& s : list[index].slot) s = -1;
    }
    __syncwarp();
    if (expert >= 0) {
      list[index].slot[token] = static_cast<int8_t>(slot);
      list[index].weight[token] = weight;
      atomicOr(&list[index].tokens, 1u << token);
    }
    count += __popc(leaders);
    __syncwarp();
  }
  return count;
}

}  // namespace moe4j::cuda
