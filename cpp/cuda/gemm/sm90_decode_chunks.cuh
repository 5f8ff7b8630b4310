// The order in which a decoding block's weights go through its ring; a chunk is a stage's share.
#pragma once

#include <cstdint>

#include "cuda/divider.hpp"
#include "cuda/gemm/sm90_decode.hpp"
#include "cuda/ptx/cluster.cuh"

namespace moe4j::cuda {

/** What goes through one stage, and what comes next: GEMM1's blocks take units in turn. */
struct GateUpChunks {
  Divider by_row_blocks;
  int32_t stage_blocks, k_blocks, row_blocks, units, stride;
  int32_t unit, index, row_block, k, blocks;
  int32_t limit =
      1;  // the first chunks are small: all copies of a multiprocessor progress together

  __device__ __forceinline__ GateUpChunks(const Sm90DecodeLayer& layer, int32_t stage_blocks,
                                          int32_t experts)
      : by_row_blocks(layer.by_gate_up_row_blocks),
        stage_blocks(stage_blocks),
        k_blocks(layer.gate_up_layout.k_blocks),
        row_blocks(layer.gate_up_layout.row_blocks),
        units(experts * row_blocks),
        stride(static_cast<int32_t>(gridDim.x)),
        unit(static_cast<int32_t>(blockIdx.x)) {
    begin_unit();
  }

  __device__ __forceinline__ bool valid() const { return unit < units; }
  __device__ __forceinline__ bool ends() const { return k + blocks == k_blocks; }
  /** Whether at most `left` K blocks come from here on. */
  __device__ __forceinline__ bool near_end(int32_t left) const {
    return unit + stride >= units && k_blocks - k <= left;
  }
  __device__ __forceinline__ void advance() {
    k += blocks;
    limit = min(2 * limit, stage_blocks);
    blocks = min(limit, k_blocks - k);
    if (blocks == 0) {
      unit += stride;
      begin_unit();
    }
  }

 private:
  __device__ __forceinline__ void begin_unit() {
    index = by_row_blocks.divide(unit);
    row_block = unit - index * row_blocks;
    k = 0;
    blocks = min(limit, k_blocks);
  }
};

/** The same of GEMM2: a block has its share of (expert, K) for the cluster's 64 rows. */
struct DownChunks {
  int32_t stage_blocks, k_blocks, end;
  int32_t row_block, position, index, k, blocks;

  __device__ __forceinline__ DownChunks(const Sm90DecodeLayer& layer, int32_t stage_blocks,
                                        int32_t experts)
      : stage_blocks(stage_blocks), k_blocks(layer.down_layout.k_blocks) {
    const int log2_size = __ffs(static_cast<int32_t>(cluster_size())) - 1;
    const auto rank = static_cast<int32_t>(cluster_rank());
    const int32_t all = experts * k_blocks;
    row_block = static_cast<int32_t>(blockIdx.x) >> log2_size;
    position = rank * all >> log2_size;
    end = (rank + 1) * all >> log2_size;
    index = layer.by_down_k_blocks.divide(position);
    k = position - index * k_blocks;
    count_blocks();
  }

  __device__ __forceinline__ bool valid() const { return position < end; }
  /** Whether the block has no more of this expert. */
  __device__ __forceinline__ bool ends() const {
    return k + blocks == k_blocks || position + blocks == end;
  }
  __device__ __forceinline__ void advance() {
    position += blocks;
    k += blocks;
    if (k == k_blocks) {
      k = 0;
      ++index;
    }
    count_blocks();
  }

 private:
  __device__ __forceinline__ void count_blocks() {
    blocks = min(stage_blocks, min(k_blocks - k, end - position));
  }
};

}  // namespace moe4j::cuda
