// What an instruction set contributes: the inner loops, as a table of functions.
//
// Each instruction set is one translation unit with compiler flags of its own. Those files define
// nothing that another file could link by chance (no inline functions with external linkage, no
// templates of the standard library): the linker would be free to give an AVX-512 copy of a shared
// function to a processor without it.
#pragma once

#include <cstdint>

#include "cpu/instruction_set.hpp"

namespace moe4j {

/** The type in which a set of kernels reads activations. */
enum class ActivationElement : int32_t { kF32, kBf16 };

constexpr int64_t element_bytes(ActivationElement element) {
  return element == ActivationElement::kBf16 ? 2 : 4;
}

/** The most tokens that any kernel takes in one tile. */
inline constexpr int32_t kMaxTileTokens = 8;

/** The most tokens of one call of a product, so that its sums fit on the stack. */
inline constexpr int32_t kMaxGroupTokens = 64;

/** Vectors of some tokens, interleaved so that one address and constants reach all of them. */
struct TokenTile {
  const void* elements;  // [padded K / 2][tokens][2]
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

struct Kernels {
  InstructionSet instruction_set;
  ActivationElement element;

  /** sums = weights . tokens, without tensor scales, by weight format (BF16, NVFP4, MXFP4). */
  MultiplyPanel multiply[3];

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
extern const Kernels kAvx512Bf16Kernels;
#endif

}  // namespace moe4j
