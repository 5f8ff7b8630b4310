// What an instruction set contributes: the inner loops, as a table of functions.
//
// Each instruction set is one translation unit with compiler flags of its own. Those files define
// nothing that another file could link by chance (no inline functions with external linkage, no
// templates of the standard library): the linker would be free to give an AVX-512 copy of a shared
// function to a processor without it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/instruction_set.hpp"

namespace moe4j {

/** The most tokens that any kernel takes in one tile. */
inline constexpr int32_t kMaxTileTokens = 16;

/** The most tokens of one call of a product, so that its sums fit on the stack. */
inline constexpr int32_t kMaxGroupTokens = 64;

/**
 * How far ahead of its multiplications a kernel asks for a panel's codes, in chunks of K. It asks
 * for them in the L2 cache: more lines can be on their way there than to the L1 cache, whose number
 * keeps one thread of some processors at half of what it can read.
 */
inline constexpr int64_t kPrefetchChunks = 12;

/** How a token's vector lies in memory, zeros beyond K up to a whole chunk. */
enum class ActivationLayout : int32_t {
  kF32,
  kBf16,
  kInt8,  // an Int8Chunk for each chunk of K
};

/** Elements of INT8 activations that share a scale. */
inline constexpr int32_t kInt8Block = 32;

/**
 * What 8-bit products add to twice a weight, so that it is not negative: -12 .. 12 becomes 0 .. 24.
 * The product of what was added and a token's codes is taken back by offsets that come with them.
 */
inline constexpr int32_t kInt8WeightOffset = 12;

/** 64 elements of a token in INT8. */
struct Int8Chunk {
  static constexpr int kBlocks = 2;
  int8_t codes[64];                   // each eight in the order of a panel's bytes: 0415 2637
  float scales[kBlocks];              //
  int32_t offsets[kBlocks];           // -kInt8WeightOffset times the sum of a block's codes
  int32_t half_offsets[2 * kBlocks];  // the same for each 16 of them
};

/** Bytes of one token and chunk of K. */
constexpr int64_t chunk_token_bytes(ActivationLayout layout) {
  switch (layout) {
    case ActivationLayout::kF32:
      return 64 * 4;
    case ActivationLayout::kBf16:
      return 64 * 2;
    default:
      return sizeof(Int8Chunk);
  }
}

/** Some tokens that go through a panel together. */
struct TokenTile {
  const void* const* rows;  // [tokens] a vector each, as the kernels' ActivationLayout says
  int32_t tokens;
};

/** The sums that a panel and a group of tokens make. */
struct PanelProduct {
  const uint8_t* panel;  // panel_layout.hpp
  int64_t chunks;        // of K
  const TokenTile* tiles;
  int32_t num_tiles;
  float* sums;  // [tokens of all tiles][32 rows], overwritten; aligned to 64 bytes
};

/** All dot products of some rows of two matrices [rows, K], each F32 or BF16. */
struct DotTile {
  static constexpr int64_t kMaxRows = 8;
  int64_t k;
  int32_t a_dtype;
  const void* a;
  int64_t a_rows;
  int32_t b_dtype;
  const void* b;
  int64_t b_rows;
  double* sums;  // [kMaxRows][kMaxRows]: a_i . b_j
};

using MultiplyPanel = void (*)(const PanelProduct& product);

/** Products of one kind of activations with weights. */
struct Products {
  ActivationLayout layout;

  /** sums = weights . tokens, without tensor scales, by weight format (BF16, NVFP4, MXFP4). Null
   *  where there is none. */
  MultiplyPanel multiply[3];

  /** Whether the vectors of a tile must lie at equal distances. */
  bool evenly_spaced = false;
};

struct Kernels {
  InstructionSet instruction_set;
  Products exact;  // F32 or BF16 elements
  Products int8;

  /** Quantizes 64 elements as moe4j.h defines INT8. */
  void (*quantize_int8)(const float* values, Int8Chunk* chunk);

  /** h[i] = g * sigmoid(alpha * g) * (u + beta), g and u clamped to the limit, for i < count. */
  void (*swiglu)(int64_t count, const float* gate, const float* up, float alpha, float beta,
                 float limit, float* h);

  /** The dot products of a tile, in F64. */
  void (*dot_f64)(const DotTile& tile);
};

/** The kernels of a supported instruction set. */
const Kernels& kernels(InstructionSet set) noexcept;

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
extern const Kernels kAvx512Bf16Kernels;
extern const Kernels kAmxInt8Kernels;
extern const Kernels kAmxBf16Kernels;
#endif

}  // namespace moe4j
