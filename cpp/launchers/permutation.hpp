// The permutation of a launch: which rows an expert computes, and where each slot's result lies.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"

namespace moe4j {

/** Rows are ordered by expert, then token, without gaps. The arrays belong to the workspace. */
struct Permutation {
  int32_t* expert_begin;  // [held experts + 1] first row of each
  int32_t* row_token;     // [rows] counted from the first token of build_permutation()
  int32_t* row_slot;      // [rows]
  int32_t* slot_row;      // [tokens * slots] the slot's row, or -1 where the expert is not here
};

/** The expert of a slot as the layer counts those it holds, or -1. `ids` is [T, k]. */
int32_t held_expert(const moe4j_layer_desc& desc, const int32_t* ids, int64_t token,
                    int64_t slot) noexcept;

/** Counts, sums up, scatters, for the tokens [first_token, first_token + tokens). */
void build_permutation(const moe4j_layer_desc& desc, const int32_t* ids, int64_t first_token,
                       int64_t tokens, const Permutation& permutation) noexcept;

}  // namespace moe4j
