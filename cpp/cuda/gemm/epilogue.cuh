// From accumulators to memory: scales, bias, LoRA delta, activation, rounding.
//
// A thread holds, for one strip and 8 columns, what mma.cuh calls d[0..3]: strip rows g and g + 8
// of tokens 2t and 2t + 1. Which features the strip rows are, says weight_layout.hpp.
#pragma once

#include <cstdint>

#include "cuda/arguments.hpp"
#include "cuda/bf16.cuh"
#include "cuda/gemm/activation.cuh"
#include "cuda/gemm/schedule.cuh"

namespace moe4j::cuda {

/**
 * What a thread's two strip rows are multiplied by, and added. It comes from far: wide kernels load
 * it before their main loop, where nobody waits for it.
 */
template <Projection kProjection>
struct StripRows {
  float scales[2];
  float biases[2];

  __device__ __forceinline__ StripRows(const Epilogue& epilogue, const ExpertScalars& scalars,
                                       int32_t expert, int32_t strip, int lane) {
    const int g = lane >> 2;
    const bool gated = kProjection == Projection::kGateUp && epilogue.gated;
    float scale = epilogue.activation_scale;
    if (epilogue.expert_scales) {
      scale *= kProjection == Projection::kGateUp ? scalars.input : scalars.intermediate;
    }
    scales[0] = scale * (kProjection == Projection::kGateUp ? scalars.gate : scalars.down);
    scales[1] = gated ? scale * scalars.up : scales[0];
    if (epilogue.row_scales != nullptr) {
      const float* row_scales =
          epilogue.row_scales + expert * epilogue.weight_rows + strip * kStripRows + g;
      scales[0] *= row_scales[0];
      scales[1] *= row_scales[8];
    }
    const int64_t bias_row = static_cast<int64_t>(expert) * epilogue.features;
    const float* sources[2] = {epilogue.bias, gated ? epilogue.up_bias : epilogue.bias};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int32_t feature = feature_of(gated, strip, g, i);
      const bool has = sources[i] != nullptr && feature < epilogue.features;
      biases[i] = has ? sources[i][bias_row + feature] : 0.0f;
    }
  }

  /** The feature of strip row g (i = 0) or g + 8 (i = 1). */
  static __device__ __forceinline__ int32_t feature_of(bool gated, int32_t strip, int g, int i) {
    return gated ? strip * 8 + g : strip * kStripRows + 2 * g + i;
  }
};

/**
 * The epilogue of one strip of one tile: rows [row_begin, row_begin + row_count) of one expert, as
 * one thread sees it. All of a warp's threads call store() together.
 *
 * Main loops hold accumulators in registers and unroll store() over them, so it must be small: it
 * handles the common case, and kernels take store_any() (in a rolled loop) where is_common() says
 * no. The answer is the same for a whole launch.
 */
template <Projection kProjection>
class StripEpilogue {
 public:
  __device__ __forceinline__ StripEpilogue(const Epilogue& epilogue, const Tile& tile,
                                           int32_t strip, int lane)
      : StripEpilogue(epilogue, epilogue.scalars[tile.expert],
                      {epilogue, epilogue.scalars[tile.expert], tile.expert, strip, lane}, tile,
                      strip, lane) {}

  __device__ __forceinline__ StripEpilogue(const Epilogue& epilogue, const ExpertScalars& scalars,
                                           const StripRows<kProjection>& rows, const Tile& tile,
                                           int32_t strip, int lane)
      : epilogue_(epilogue),
        scalars_(scalars),
        rows_(rows),
        row_begin_(tile.row_begin),
        storage_begin_(tile.storage_begin),
        column_((lane & 3) * 2),
        row_count_(tile.row_count),
        odd_((lane & 4) != 0) {
    const bool gated = kProjection == Projection::kGateUp && epilogue.gated;
    features_[0] = StripRows<kProjection>::feature_of(gated, strip, lane >> 2, 0);
    features_[1] = StripRows<kProjection>::feature_of(gated, strip, lane >> 2, 1);
    if (kProjection == Projection::kGateUp) {
      // Tiles begin at multiples of 8 rows: the chunk's place is the same in all groups of 8.
      mine_ = column_ + (odd_ ? 1 : 0);
      first_ = address(mine_, features_[0] & ~1);
      stride_ = 8 * 128;
    } else {
      mine_ = column_;
      first_ = address(column_, features_[0]);
      stride_ = static_cast<int64_t>(epilogue.features) * 2;
    }
    if (features_[0] >= epilogue.features) row_count_ = 0;  // padding: nothing to store
  }

  static __device__ __forceinline__ bool is_common(const Epilogue& epilogue) {
    if (epilogue.features % 2 != 0) return false;
    return kProjection == Projection::kDown ||
           (epilogue.output == nullptr && epilogue.gated && epilogue.activation == MOE4J_SWIGLU &&
            epilogue.per_token_scale == nullptr && epilogue.lora_delta == nullptr);
  }

  /** BF16 of the common case: the accumulators of columns 8 n to 8 n + 7. */
  __device__ __forceinline__ void store(int32_t n, const float* d) {
    if (kProjection == Projection::kDown) {
      if (n * 8 + mine_ < row_count_) store_pair(first_, scaled<0>(d[0]), scaled<1>(d[2]));
      if (n * 8 + mine_ + 1 < row_count_) {
        store_pair(first_ + stride_, scaled<0>(d[1]), scaled<1>(d[3]));
      }
      first_ += 8 * stride_;
    } else {
      // One feature of two tokens: neighbours swap, so that each stores two of one token.
      const float h0 = activate_swiglu(scalars_, scaled<0>(d[0]), scaled<1>(d[2]));
      const float h1 = activate_swiglu(scalars_, scaled<0>(d[1]), scaled<1>(d[3]));
      const uint32_t tokens = round_bf16_pair(h0, h1);
      const uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, tokens, 4);
      if (n * 8 + mine_ < row_count_) {
        *reinterpret_cast<uint32_t*>(first_ + n * stride_) =
            __byte_perm(tokens, other, odd_ ? 0x3276 : 0x5410);
      }
    }
  }

  /** Any activation, option and output type. */
  __device__ __forceinline__ void store_any(int32_t n, const float* d) const {
    const int32_t column = n * 8 + column_;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (column + i >= row_count_) continue;
      if (kProjection == Projection::kGateUp && epilogue_.gated) {
        if (features_[0] >= epilogue_.features) continue;
        const float g = preactivation<0>(column + i, d[i]);
        const float u = preactivation<1>(column + i, d[2 + i]);
        store_one(column + i, features_[0], activate_gated(epilogue_.activation, scalars_, g, u));
      } else {
        if (features_[0] < epilogue_.features) {
          store_one(column + i, features_[0], ungated<0>(column + i, d[i]));
        }
        if (features_[1] < epilogue_.features) {
          store_one(column + i, features_[1], ungated<1>(column + i, d[2 + i]));
        }
      }
    }
  }

 private:
  template <int kRow>
  __device__ __forceinline__ float scaled(float value) const {
    return value * rows_.scales[kRow] + rows_.biases[kRow];
  }

  template <int kRow>
  __device__ __forceinline__ float preactivation(int32_t column, float value) const {
    const int32_t row = row_begin_ + column;
    if (epilogue_.per_token_scale != nullptr) {
      value *= epilogue_.per_token_scale[epilogue_.row_pair[row] / epilogue_.slots];
    }
    value = scaled<kRow>(value);
    if (epilogue_.lora_delta != nullptr) {
      const int32_t token = epilogue_.row_pair[row] / epilogue_.slots;
      const int32_t slot = epilogue_.row_pair[row] % epilogue_.slots;
      if (slot < epilogue_.top_k) {  // shared experts have none
        const int64_t chosen = static_cast<int64_t>(token) * epilogue_.top_k + slot;
        const int32_t halves = epilogue_.gated ? 2 : 1;
        const int32_t half = epilogue_.gated ? kRow : 0;
        value += load_bf16(epilogue_.lora_delta + (chosen * halves + half) * epilogue_.features +
                           features_[kRow]);
      }
    }
    return value;
  }

  template <int kRow>
  __device__ __forceinline__ float ungated(int32_t column, float value) const {
    if (kProjection == Projection::kDown) return scaled<kRow>(value);
    return activate_ungated(epilogue_.activation, preactivation<kRow>(column, value));
  }

  static __device__ __forceinline__ void store_pair(uint8_t* place, float first, float second) {
    *reinterpret_cast<uint32_t*>(place) = round_bf16_pair(first, second);
  }

  __device__ __forceinline__ void store_one(int32_t column, int32_t feature, float value) const {
    if (epilogue_.output_f32) {
      static_cast<float*>(
          epilogue_.output)[(row_begin_ + column) * int64_t{epilogue_.features} + feature] = value;
    } else {
      *reinterpret_cast<uint16_t*>(address(column, feature)) = round_bf16(value);
    }
  }

  /** Of a BF16 output. */
  __device__ __forceinline__ uint8_t* address(int32_t column, int32_t feature) const {
    if (kProjection == Projection::kGateUp) {
      return epilogue_.tiled_output.chunk(storage_begin_ + column, feature) + (feature & 7) * 2;
    }
    return static_cast<uint8_t*>(epilogue_.output) +
           ((row_begin_ + column) * int64_t{epilogue_.features} + feature) * 2;
  }

  const Epilogue& epilogue_;
  ExpertScalars scalars_;
  StripRows<kProjection> rows_;
  int32_t features_[2];  // of strip rows g and g + 8
  int32_t row_begin_;
  int32_t storage_begin_;
  int32_t column_;  // of d[0], in each group of 8
  int32_t row_count_;
  bool odd_;
  int32_t mine_;    // column of the common case's first store, ...
  uint8_t* first_;  // its place, ...
  int64_t stride_;  // and bytes to the next group (GEMM1) or row (GEMM2)
};

/** Stores the accumulators of one strip, kColumnTiles x 4 of them. */
template <int kColumnTiles, Projection kProjection>
__device__ __forceinline__ void store_columns(const Epilogue& options,
                                              StripEpilogue<kProjection>& epilogue,
                                              int32_t row_count, const float* d) {
  if (StripEpilogue<kProjection>::is_common(options)) {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      if (n * 8 < row_count) epilogue.store(n, d + n * 4);
    }
    return;
  }
  // Registers have no run-time index. Local memory has, and the rare case then needs no registers
  // that the common one would have to spill for.
  float held[kColumnTiles * 4];
#pragma unroll
  for (int i = 0; i < kColumnTiles * 4; ++i) held[i] = d[i];
#pragma unroll 1
  for (int n = 0; n < kColumnTiles; ++n) epilogue.store_any(n, held + n * 4);
}

}  // namespace moe4j::cuda
