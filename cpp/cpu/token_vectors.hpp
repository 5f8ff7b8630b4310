// How a token's vector is written for kernels to read.
//
// Each class below is an ActivationLayout. It has the type of the elements that it is given,
// conversions to it, and
//
//   store(kernels, vector, first, length, values)
//
// for elements [first, first + length) of a vector, which are part of one chunk of K; INT8 wants
// whole chunks.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"
#include "formats/bf16.hpp"

namespace moe4j {

/** Bytes from one vector of K elements to the next: an odd number of cache lines, so that the same
 *  elements of many tokens do not compete for the same places of a cache. */
constexpr int64_t vector_stride(ActivationLayout layout, int64_t k) {
  return (ceil_div(chunks(k) * chunk_token_bytes(layout), 64) | 1) * 64;
}

struct F32Element {
  using Type = float;
  static float from_f32(float value) { return value; }
  static float from_bf16(uint16_t bits) { return bf16_to_f32(bits); }
};

struct Bf16Element {
  using Type = uint16_t;
  static uint16_t from_f32(float value) { return f32_to_bf16(value); }
  static uint16_t from_bf16(uint16_t bits) { return bits; }
};

/** Elements as they are. */
template <class Element>
struct PlainVector : Element {
  using Type = typename Element::Type;
  static void store(const Kernels&, uint8_t* vector, int64_t first, int64_t length,
                    const Type* values) noexcept {
    std::memcpy(reinterpret_cast<Type*>(vector) + first, values,
                static_cast<size_t>(length) * sizeof(*values));
  }
};

using F32Vector = PlainVector<F32Element>;
using Bf16Vector = PlainVector<Bf16Element>;

struct Int8Vector : F32Element {
  static void store(const Kernels& kernels, uint8_t* vector, int64_t first, int64_t,
                    const float* values) noexcept {
    kernels.quantize_int8(values, reinterpret_cast<Int8Chunk*>(vector) + first / kChunkK);
  }
};

/** Writes a whole vector, zeros beyond K. `load(first, length, piece)` gives elements [first, first
 *  + length); pieces are kChunkK long, the last one may be shorter. */
template <class Vector, class Load>
void store_vector(const Kernels& kernels, uint8_t* vector, int64_t k, const Load& load) noexcept {
  for (int64_t first = 0; first < k; first += kChunkK) {
    typename Vector::Type piece[kChunkK] = {};
    load(first, k - first < kChunkK ? k - first : kChunkK, piece);
    Vector::store(kernels, vector, first, kChunkK, piece);
  }
}

}  // namespace moe4j
