// Tiles of tokens: how an expert's rows are divided, and how their vectors are laid out.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels.hpp"
#include "cpu/panel_layout.hpp"
#include "formats/bf16.hpp"

namespace moe4j {

/** Some rows of one expert that go through its panels together. */
struct TileRange {
  int64_t begin;  // counted from the expert's first row
  int32_t count;
};

constexpr int64_t num_tiles(int64_t rows, int32_t tile_tokens) {
  return ceil_div(rows, tile_tokens);
}

/** The rows in as few tiles as possible, all of them as large as any other or smaller by one: 9
 *  rows in tiles of 8 are 5 and 4, which costs less than 8 and 1. */
constexpr TileRange tile_range(int64_t rows, int32_t tile_tokens, int64_t tile) {
  const int64_t tiles = num_tiles(rows, tile_tokens);
  const int64_t size = rows / tiles;
  const int64_t larger = rows % tiles;
  return {tile * size + (tile < larger ? tile : larger),
          static_cast<int32_t>(size + (tile < larger ? 1 : 0))};
}

/** Bytes of one token in a tile. */
constexpr int64_t token_bytes(ActivationLayout layout, int64_t k) {
  return chunks(k) * chunk_token_bytes(layout);
}

// The classes below say how a tile of `count` tokens is written. Each has the type of the elements
// that it is given, conversions to it, and
//
//   store(tile, i, first, length, values)
//
// for elements [first, first + length) of token i. They are part of one chunk of K, and of an even
// number; INT8 wants whole chunks.

struct F32Element {
  using Type = float;
  static constexpr ActivationLayout kPairs = ActivationLayout::kF32Pairs;
  static float from_f32(float value) { return value; }
  static float from_bf16(uint16_t bits) { return bf16_to_f32(bits); }
};

struct Bf16Element {
  using Type = uint16_t;
  static constexpr ActivationLayout kPairs = ActivationLayout::kBf16Pairs;
  static uint16_t from_f32(float value) { return f32_to_bf16(value); }
  static uint16_t from_bf16(uint16_t bits) { return bits; }
};

/** kF32Pairs and kBf16Pairs. */
template <class Element>
class PairTile : public Element {
 public:
  PairTile(const Kernels&, uint8_t* tile, int32_t count) noexcept
      : pairs_(reinterpret_cast<typename Element::Type*>(tile)), count_(count) {}

  void store(int32_t i, int64_t first, int64_t length,
             const typename Element::Type* values) const noexcept {
    auto* pairs = pairs_ + (first / 2 * count_ + i) * 2;
    for (int64_t pair = 0; pair < length / 2; ++pair) {
      std::memcpy(pairs + pair * count_ * 2, values + pair * 2, 2 * sizeof(*values));
    }
  }

 private:
  typename Element::Type* pairs_;
  int64_t count_;
};

/** kBf16Rows. */
class Bf16RowTile : public Bf16Element {
 public:
  Bf16RowTile(const Kernels&, uint8_t* tile, int32_t count) noexcept
      : rows_(reinterpret_cast<uint16_t*>(tile)), count_(count) {}

  void store(int32_t i, int64_t first, int64_t length, const uint16_t* values) const noexcept {
    uint16_t* row = rows_ + (first / kChunkK * count_ + i) * kChunkK;
    std::memcpy(row + first % kChunkK, values, static_cast<size_t>(length) * sizeof(*values));
  }

 private:
  uint16_t* rows_;
  int64_t count_;
};

/** kInt8Quads, and kInt8Rows if the codes of a token are kept together. */
template <bool kRows>
class Int8Tile : public F32Element {
 public:
  Int8Tile(const Kernels& kernels, uint8_t* tile, int32_t count) noexcept
      : kernels_(kernels), tile_(tile), count_(count) {}

  void store(int32_t i, int64_t first, int64_t, const float* values) const noexcept {
    Int8Chunk chunk;
    kernels_.quantize_int8(values, &chunk);
    uint8_t* stored = tile_ + first / kChunkK * count_ * static_cast<int64_t>(sizeof(chunk));
    const auto* words = reinterpret_cast<const uint8_t*>(&chunk);
    if constexpr (kRows) std::memcpy(stored + i * kChunkK, words, kChunkK);
    for (int64_t word = kRows ? kChunkK / 4 : 0; word < kWords; ++word) {
      std::memcpy(stored + (word * count_ + i) * 4, words + word * 4, 4);
    }
  }

 private:
  static constexpr int64_t kWords = sizeof(Int8Chunk) / 4;
  const Kernels& kernels_;
  uint8_t* tile_;
  int64_t count_;
};

/**
 * Writes a whole tile, zeros beyond K. `load(i, first, length, piece)` gives elements [first, first
 * + length) of the tile's i-th row; pieces are kChunkK long, the last one may be shorter.
 */
template <class Tile, class Load>
void store_rows(const Tile& tile, int32_t count, int64_t k, const Load& load) noexcept {
  for (int64_t first = 0; first < k; first += kChunkK) {
    const int64_t length = k - first < kChunkK ? k - first : kChunkK;
    for (int32_t i = 0; i < count; ++i) {
      typename Tile::Type piece[kChunkK] = {};
      load(i, first, length, piece);
      tile.store(i, first, kChunkK, piece);
    }
  }
}

}  // namespace moe4j
