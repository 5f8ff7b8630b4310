// Reading a launch's routing on the device. Hostile contents are possible: what is no local expert,
// or was chosen before by the same token, has local expert -1 and contributes nothing.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/bf16.cuh"

namespace moe4j::cuda {

/** The id in a packed word, whose low half is a BF16 weight. */
__device__ __forceinline__ int32_t packed_id(int32_t word) { return word >> 16; }

__device__ __forceinline__ int32_t routed_id(const Routing& routing, int64_t slot) {
  return routing.packed != nullptr ? packed_id(routing.packed[slot]) : routing.ids[slot];
}

/** Where all words with ids are, [T, k], and the id in one: for many loads at once. */
__device__ __forceinline__ const int32_t* id_words(const Routing& routing) {
  return routing.packed != nullptr ? routing.packed : routing.ids;
}
__device__ __forceinline__ int32_t id_in(const Routing& routing, int32_t word) {
  return routing.packed != nullptr ? packed_id(word) : word;
}

__device__ __forceinline__ float routed_weight(const Routing& routing, int64_t slot) {
  if (routing.packed != nullptr) return lower_bf16(static_cast<uint32_t>(routing.packed[slot]));
  return load_element(routing.weights, routing.weights_are_bf16, slot);
}

__device__ __forceinline__ int32_t local_expert(const Routing& routing, int32_t id) {
  const int32_t local = id - routing.local_offset;
  return id >= 0 && id < routing.num_experts && local >= 0 && local < routing.local_experts ? local
                                                                                            : -1;
}

/** The shared expert of a slot that is not routed. */
__device__ __forceinline__ int32_t shared_expert(const Routing& routing, int32_t slot) {
  return routing.local_experts + slot - routing.top_k;
}

/** Local expert that (token, slot) names, shared experts included, whatever slots before it do. */
__device__ __forceinline__ int32_t named_expert(const Routing& routing, int64_t token,
                                                int32_t slot) {
  return slot < routing.top_k
             ? local_expert(routing, routed_id(routing, token * routing.top_k + slot))
             : shared_expert(routing, slot);
}

/** The same, but -1 if a slot before it names the same expert. */
__device__ __forceinline__ int32_t slot_expert(const Routing& routing, int64_t token,
                                               int32_t slot) {
  if (slot < routing.top_k) {
    const int32_t id = routed_id(routing, token * routing.top_k + slot);
    bool again = false;  // without a way out: all loads are on their way at once
    for (int32_t before = 0; before < slot; ++before) {
      again |= routed_id(routing, token * routing.top_k + before) == id;
    }
    if (again) return -1;
  }
  return named_expert(routing, token, slot);
}

__device__ __forceinline__ float slot_weight(const Routing& routing, int64_t token, int32_t slot) {
  return slot >= routing.top_k ? 1.0f : routed_weight(routing, token * routing.top_k + slot);
}

}  // namespace moe4j::cuda
