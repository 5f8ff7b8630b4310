// The kernels that tactics/*.def instantiate, as addresses. Each weight format is compiled in
// translation units of its own, with MOE4J_INSTANCE_FORMAT (and MOE4J_INSTANCE_PROJECTION):
// sm80_grouped.cu, sm90_grouped.cu, sm90_fp8_grouped.cu, sm90_narrow.cu and sm80_decode.cu.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "cuda/arguments.hpp"
#include "cuda/gemm/narrow_limits.hpp"
#include "cuda/gemm/sm90_shared.hpp"

namespace moe4j::cuda {

using GroupedKernel = void (*)(const GroupedGemm);
using NarrowKernel = void (*)(const NarrowLayer);
using DecodeKernel = void (*)(const DecodeLayer);

/** The token tile of a kernel with main loops of these columns, ascending. */
constexpr int32_t token_tile(std::initializer_list<int32_t> sizes) { return *(sizes.end() - 1); }

/** How a grouped kernel is launched. */
struct GroupedInstance {
  GroupedKernel kernel;
  int32_t threads;
  int32_t shared_bytes;  // without the schedule's
};

struct NarrowInstance {
  NarrowKernel kernel;
  int32_t threads;
  int32_t blocks;       // a multiprocessor
  int32_t most_stages;  // of the ring
  int32_t stage_bytes;
  int32_t fixed_bytes;  // of shared memory, without the ring and the table

  /** As many stages as fit beside the table; NarrowRing sees to it that the least do. */
  constexpr int32_t stages(int64_t tokens, int32_t experts) const {
    const int32_t block_bytes = kSm90Shared / blocks - kSm90BlockShared;
    const int32_t ring_bytes = block_bytes - fixed_bytes - narrow_table_bytes(tokens, experts);
    return std::clamp(ring_bytes / stage_bytes, kNarrowLeastStages, most_stages);
  }
  constexpr int32_t shared_bytes(int64_t tokens, int32_t experts) const {
    return fixed_bytes + stages(tokens, experts) * stage_bytes +
           narrow_table_bytes(tokens, experts);
  }
};

/** `row` counts the MOE4J_SM80_GROUPED rows of tactics/sm80.def. */
template <int kFormat, Projection kProjection>
GroupedInstance sm80_grouped_instance(int row);

/** `row` counts the rows of tactics/sm90.def. */
template <int kFormat, Projection kProjection>
GroupedInstance sm90_grouped_instance(int row);

/** MXFP4 weights packed for FP8; `row` counts the rows of tactics/sm90_fp8.def. */
template <Projection kProjection>
GroupedInstance sm90_fp8_grouped_instance(int row);

/** `row` counts the rows of tactics/sm90_narrow.def. FP4 weights only. */
template <int kFormat>
NarrowInstance sm90_narrow_instance(int row);

/** `row` counts the MOE4J_DECODE rows of tactics/sm80.def. */
template <int kFormat>
DecodeKernel decode_gate_up_instance(int row);

template <int kFormat>
DecodeKernel decode_down_instance();

}  // namespace moe4j::cuda
