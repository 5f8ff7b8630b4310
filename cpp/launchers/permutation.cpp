#include "launchers/permutation.hpp"

#include "support/layer_desc.hpp"

namespace moe4j {

int32_t held_expert(const moe4j_layer_desc& desc, const int32_t* ids, int64_t token,
                    int64_t slot) noexcept {
  if (slot >= desc.top_k) return desc.local_num_experts + static_cast<int32_t>(slot - desc.top_k);
  const int32_t expert = ids[token * desc.top_k + slot] - desc.local_expert_offset;
  return expert >= 0 && expert < desc.local_num_experts ? expert : -1;
}

void build_permutation(const moe4j_layer_desc& desc, const int32_t* ids, int64_t first_token,
                       int64_t tokens, const Permutation& permutation) noexcept {
  const int32_t experts = num_held_experts(desc);
  const int32_t slots = slots_per_token(desc);
  int32_t* begin = permutation.expert_begin;

  // begin[e + 1] counts expert e, then becomes its first row, then, by the scatter, its last + 1.
  for (int32_t e = 0; e <= experts; ++e) begin[e] = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t s = 0; s < slots; ++s) {
      const int32_t expert = held_expert(desc, ids, first_token + t, s);
      if (expert >= 0) ++begin[expert + 1];
    }
  }
  int32_t row = 0;
  for (int32_t e = 0; e < experts; ++e) {
    const int32_t count = begin[e + 1];
    begin[e + 1] = row;
    row += count;
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t s = 0; s < slots; ++s) {
      const int32_t expert = held_expert(desc, ids, first_token + t, s);
      int32_t* slot_row = permutation.slot_row + t * slots + s;
      *slot_row = -1;
      if (expert < 0) continue;
      *slot_row = begin[expert + 1]++;
      permutation.row_token[*slot_row] = static_cast<int32_t>(t);
      permutation.row_slot[*slot_row] = static_cast<int32_t>(s);
    }
  }
}

}  // namespace moe4j
