#include "cpu/token_vectors.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace moe4j {
namespace {

/** Exact in BF16, and no two neighbours alike. */
float element(int64_t k) { return static_cast<float>(k % 251 + 1); }

template <class Vector>
std::vector<uint8_t> store(ActivationLayout layout, int64_t k) {
  std::vector<uint8_t> bytes(static_cast<size_t>(vector_stride(layout, k)), 0xFF);
  store_vector<Vector>(kPortableKernels, bytes.data(), k,
                       [](int64_t first, int64_t length, auto* piece) {
                         for (int64_t i = 0; i < length; ++i) {
                           piece[i] = Vector::from_f32(element(first + i));
                         }
                       });
  return bytes;
}

TEST(TokenVectors, HoldElementsInOrderAndZerosBeyondK) {
  for (const int64_t k : {1, 63, 64, 65, 200}) {
    const std::vector<uint8_t> f32 = store<F32Vector>(ActivationLayout::kF32, k);
    const std::vector<uint8_t> bf16 = store<Bf16Vector>(ActivationLayout::kBf16, k);
    for (int64_t i = 0; i < padded_k(k); ++i) {
      const float expected = i < k ? element(i) : 0.0f;
      ASSERT_EQ(reinterpret_cast<const float*>(f32.data())[i], expected);
      ASSERT_EQ(bf16_to_f32(reinterpret_cast<const uint16_t*>(bf16.data())[i]), expected);
    }
  }
}

TEST(TokenVectors, Int8IsQuantizedChunkByChunk) {
  constexpr int64_t kK = 160;
  const std::vector<uint8_t> bytes = store<Int8Vector>(ActivationLayout::kInt8, kK);
  for (int64_t first = 0; first < kK; first += kChunkK) {
    float values[kChunkK] = {};
    for (int64_t i = 0; i < std::min(kChunkK, kK - first); ++i) values[i] = element(first + i);
    Int8Chunk expected;
    kPortableKernels.quantize_int8(values, &expected);
    const size_t at = static_cast<size_t>(first / kChunkK) * sizeof(expected);
    ASSERT_EQ(std::memcmp(bytes.data() + at, &expected, sizeof(expected)), 0);
  }
}

TEST(TokenVectors, LieAnOddNumberOfCacheLinesApart) {
  for (const auto layout :
       {ActivationLayout::kF32, ActivationLayout::kBf16, ActivationLayout::kInt8}) {
    for (const int64_t k : {1, 64, 768, 2048, 2880, 4096}) {
      const int64_t stride = vector_stride(layout, k);
      EXPECT_GE(stride, chunks(k) * chunk_token_bytes(layout));
      EXPECT_EQ(stride % 128, 64);
    }
  }
}

}  // namespace
}  // namespace moe4j
