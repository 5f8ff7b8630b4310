// Each instruction set's kernels against the portable ones.
#include "cpu/kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cpu/panel_layout.hpp"
#include "cpu/tactic.hpp"
#include "cpu/token_vectors.hpp"
#include "formats/bf16.hpp"

namespace moe4j {
namespace {

constexpr int32_t kFormats[] = {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4};

/** Memory as panels have it. */
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes) : bytes_(static_cast<size_t>(bytes) + 64) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    data_ = bytes_.data() + (64 - address % 64) % 64;
  }
  uint8_t* data() { return data_; }

 private:
  std::vector<uint8_t> bytes_;
  uint8_t* data_;
};

class EachKernels : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    if (!is_supported(GetParam())) GTEST_SKIP() << "this processor has no " << name(GetParam());
  }
  const Kernels& fast() const { return kernels(GetParam()); }

  /** The most tokens of a tile, as tactics have it; 0 without such kernels. */
  int32_t largest_tile(Activations activations) const {
    int32_t largest = 0;
    for (const CpuTactic& tactic : kCpuTactics) {
      if (tactic.instruction_set == GetParam() && tactic.activations == activations) {
        largest = std::max(largest, tactic.tile_tokens);
      }
    }
    return largest;
  }
};

INSTANTIATE_TEST_SUITE_P(Cpu, EachKernels,
                         testing::Values(InstructionSet::kPortable, InstructionSet::kAvx2,
                                         InstructionSet::kAvx512, InstructionSet::kAvx512Vnni,
                                         InstructionSet::kAvx512Bf16, InstructionSet::kAmxInt8,
                                         InstructionSet::kAmxBf16),
                         [](const auto& info) { return std::string(name(info.param)); });

/** Any codes; scales of all values that preparation can leave, small enough not to overflow. */
void fill_panel(std::mt19937_64& random, int32_t format, int64_t num_chunks, uint8_t* panel) {
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
    uint8_t* bytes = panel + chunk * chunk_bytes(format);
    for (int64_t i = 0; i < chunk_bytes(format); ++i) bytes[i] = static_cast<uint8_t>(random());
    if (format == MOE4J_FORMAT_BF16) {
      auto* codes = reinterpret_cast<uint16_t*>(bytes);
      for (int64_t i = 0; i < chunk_bytes(format) / 2; ++i) {
        codes[i] = static_cast<uint16_t>((random() & 0x80FF) | 0x3E00);
      }
    }
    for (int64_t i = chunk_code_bytes(format); i < chunk_bytes(format); ++i) {
      bytes[i] = format == MOE4J_FORMAT_NVFP4 ? static_cast<uint8_t>(random() % 0x7F)
                                              : static_cast<uint8_t>(random() % 140);
    }
  }
}

/** A tile of tokens in the layout of some kernels. */
class StoredTile {
 public:
  /** `elements` [tokens][K] are BF16 numbers. */
  StoredTile(const Kernels& kernels, ActivationLayout layout, int32_t tokens, int64_t k,
             const std::vector<float>& elements)
      : bytes_(tokens * vector_stride(layout, k)) {
    for (int32_t i = tokens - 1; i >= 0; --i) {  // so that rows lie in no order to rely on
      uint8_t* vector = bytes_.data() + (tokens - 1 - i) * vector_stride(layout, k);
      const float* row = elements.data() + i * k;
      switch (layout) {
        case ActivationLayout::kF32:
          store<F32Vector>(kernels, vector, k, row);
          break;
        case ActivationLayout::kBf16:
          store<Bf16Vector>(kernels, vector, k, row);
          break;
        default:
          store<Int8Vector>(kernels, vector, k, row);
      }
      rows_.insert(rows_.begin(), vector);
    }
  }

  TokenTile view() const { return {rows_.data(), static_cast<int32_t>(rows_.size())}; }

 private:
  template <class Vector>
  static void store(const Kernels& kernels, uint8_t* vector, int64_t k, const float* row) {
    store_vector<Vector>(kernels, vector, k, [&](int64_t first, int64_t length, auto* piece) {
      std::transform(row + first, row + first + length, piece, Vector::from_f32);
    });
  }

  AlignedBytes bytes_;
  std::vector<const void*> rows_;
};

std::vector<float> random_elements(std::mt19937_64& random, int64_t count) {
  std::vector<float> elements(static_cast<size_t>(count));
  for (float& element : elements) {
    element = bf16_to_f32(static_cast<uint16_t>((random() & 0x80FF) | 0x3F00));
  }
  return elements;
}

/** Products of random panels with tiles of the given sizes must agree with the portable ones. */
void expect_agreement(const Kernels& fast, bool int8, int32_t format, int64_t num_chunks,
                      const std::vector<int32_t>& tile_sizes) {
  std::mt19937_64 random(static_cast<uint64_t>(format * 1000 + num_chunks));
  AlignedBytes panel(num_chunks * chunk_bytes(format));
  fill_panel(random, format, num_chunks, panel.data());

  const Products& fast_products = int8 ? fast.int8 : fast.exact;
  const Products& portable = int8 ? kPortableKernels.int8 : kPortableKernels.exact;
  const int64_t k = num_chunks * kChunkK;
  std::vector<std::unique_ptr<StoredTile>> stored;
  std::vector<TokenTile> fast_tiles;
  std::vector<TokenTile> portable_tiles;
  int64_t tokens = 0;
  for (const int32_t size : tile_sizes) {
    const std::vector<float> elements = random_elements(random, size * k);
    stored.push_back(std::make_unique<StoredTile>(fast, fast_products.layout, size, k, elements));
    fast_tiles.push_back(stored.back()->view());
    stored.push_back(
        std::make_unique<StoredTile>(kPortableKernels, portable.layout, size, k, elements));
    portable_tiles.push_back(stored.back()->view());
    tokens += size;
  }
  alignas(64) float expected[kMaxGroupTokens * kPanelRows];
  alignas(64) float actual[kMaxGroupTokens * kPanelRows];
  std::fill(std::begin(actual), std::end(actual), std::numeric_limits<float>::quiet_NaN());
  const auto count = static_cast<int32_t>(tile_sizes.size());
  portable.multiply[format]({panel.data(), num_chunks, portable_tiles.data(), count, expected});
  fast_products.multiply[format]({panel.data(), num_chunks, fast_tiles.data(), count, actual});

  double error = 0;
  double norm = 0;
  for (int64_t i = 0; i < tokens * kPanelRows; ++i) {
    error += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  EXPECT_LT(std::sqrt(error / norm), 2e-6) << "format " << format << ", " << num_chunks
                                           << " chunks, " << count << " tiles of " << tile_sizes[0];
}

TEST_P(EachKernels, MultiplyEveryTileSizeLikeThePortableOnes) {
  for (const Activations activations : {Activations::kExact, Activations::kInt8}) {
    const bool int8 = activations == Activations::kInt8;
    const int32_t largest = largest_tile(activations);
    for (const int32_t format : kFormats) {
      if (int8 && format == MOE4J_FORMAT_BF16) continue;
      for (const int64_t num_chunks : {1, 2, 5, 8, 9, 17}) {
        for (int32_t tokens = 1; tokens <= largest; ++tokens) {
          expect_agreement(fast(), int8, format, num_chunks, {tokens});
          expect_agreement(fast(), int8, format, num_chunks, {tokens, tokens, 1});
        }
        if (largest > 0) {
          expect_agreement(fast(), int8, format, num_chunks, std::vector<int32_t>(64, 1));
        }
      }
    }
  }
}

TEST_P(EachKernels, ATokenGetsTheSameBitsInEveryTile) {
  constexpr int64_t kChunks = 11;
  std::mt19937_64 random(3);
  for (const Activations activations : {Activations::kExact, Activations::kInt8}) {
    const bool int8 = activations == Activations::kInt8;
    const Products& products = int8 ? fast().int8 : fast().exact;
    for (const int32_t format : kFormats) {
      if (products.multiply[format] == nullptr) continue;
      AlignedBytes panel(kChunks * chunk_bytes(format));
      fill_panel(random, format, kChunks, panel.data());
      for (const int32_t tokens : {2, 3, std::min(6, largest_tile(activations))}) {
        StoredTile stored(fast(), products.layout, tokens, kChunks * kChunkK,
                          random_elements(random, tokens * kChunks * kChunkK));
        alignas(64) float together[kMaxGroupTokens * kPanelRows];
        alignas(64) float again[kMaxGroupTokens * kPanelRows];
        const TokenTile one = stored.view();
        const TokenTile twice[] = {one, one};
        products.multiply[format]({panel.data(), kChunks, &one, 1, together});
        products.multiply[format]({panel.data(), kChunks, twice, 2, again});
        const size_t bytes = sizeof(float) * static_cast<size_t>(tokens * kPanelRows);
        if (int8 || GetParam() != InstructionSet::kAvx2) {  // whose many tokens take another path
          EXPECT_EQ(std::memcmp(together, again, bytes), 0);
        }
        EXPECT_EQ(std::memcmp(again, again + tokens * kPanelRows, bytes), 0);
      }
    }
  }
}

/** INT8 as moe4j.h defines it, one element at a time. */
TEST_P(EachKernels, QuantizesToInt8AsItIsDefined) {
  std::mt19937_64 random(5);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (int draw = 0; draw < 300; ++draw) {
    float values[64];
    const float spread = std::ldexp(1.0f, static_cast<int>(random() % 290) - 160);
    for (float& value : values) {
      value = (static_cast<float>(random() % 2001) / 1000 - 1) * spread;
    }
    if (draw % 10 == 1) std::fill(values, values + 32, 0.0f);
    if (draw % 10 == 2) values[33] = std::numeric_limits<float>::infinity();
    if (draw % 10 == 3) values[5] = kNan;
    if (draw % 10 == 4) {  // ties
      for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(i) - 15.5f;
      values[0] = 127;
    }
    Int8Chunk chunk;
    fast().quantize_int8(values, &chunk);
    int32_t sums[4] = {};
    for (int block = 0; block < 2; ++block) {
      float amax = 0;
      bool finite = true;
      for (int i = 0; i < 32; ++i) {
        amax = std::max(amax, std::abs(values[block * 32 + i]));
        finite = finite && std::isfinite(values[block * 32 + i]);
      }
      const float scale = amax / 127.0f;
      if (finite) {
        ASSERT_EQ(chunk.scales[block], scale);
      } else {
        ASSERT_TRUE(std::isnan(chunk.scales[block]));
      }
      for (int i = 0; i < 32; ++i) {
        const int k = block * 32 + i;
        constexpr int kPlace[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // of K 0 .. 7 in 0 4 1 5 2 6 3 7
        const int code = chunk.codes[k / 8 * 8 + kPlace[k % 8]];
        const float quotient = values[k] / scale;
        const double expected =
            finite && scale > 0
                ? std::max(-127.0, std::min(127.0, static_cast<double>(std::nearbyint(quotient))))
                : 0.0;
        ASSERT_EQ(code, expected) << values[k] << " / " << scale;
        sums[k / 16] += code;
      }
    }
    for (int half = 0; half < 4; ++half) ASSERT_EQ(chunk.half_offsets[half], -12 * sums[half]);
    ASSERT_EQ(chunk.offsets[0], -12 * (sums[0] + sums[1]));
    ASSERT_EQ(chunk.offsets[1], -12 * (sums[2] + sums[3]));
  }
}

TEST_P(EachKernels, SwigluIsAccurateOverItsWholeRange) {
  std::vector<float> gate;
  std::vector<float> up;
  for (double g = -120; g <= 120; g += 0.037) {
    gate.push_back(static_cast<float>(g));
    up.push_back(static_cast<float>(3 - g / 50));
  }
  for (const float g : {-1e20f, -1e37f, -8e37f, 1e20f, 1e37f}) {
    gate.push_back(g);
    up.push_back(3);
  }
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float limit : {infinity, 7.0f}) {
    for (const float alpha : {1.0f, 1.702f, -0.5f}) {
      std::vector<float> h(gate.size());
      fast().swiglu(static_cast<int64_t>(h.size()), gate.data(), up.data(), alpha, 1.0f, limit,
                    h.data());
      for (size_t i = 0; i < h.size(); ++i) {
        const double g = std::min(gate[i], limit);
        const double u = std::max(std::min(up[i], limit), -limit);
        const double expected = g / (1 + std::exp(-alpha * g)) * (u + 1);
        // The exponent's own rounding to F32 grows with it; where sigmoid is below 1e-37, its value
        // may be any number as small as that.
        const double relative = 1e-6 + 1.2e-7 * std::abs(alpha * g);
        ASSERT_NEAR(h[i], expected, std::abs(expected) * relative + 1e-34) << g << " " << u;
      }
    }
  }
}

TEST_P(EachKernels, SwigluKeepsNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float gate[] = {nan, 1, nan};
  const float up[] = {1, nan, nan};
  float h[3] = {};
  fast().swiglu(3, gate, up, 1.0f, 0.0f, 7.0f, h);
  for (const float value : h) EXPECT_TRUE(std::isnan(value));
}

TEST_P(EachKernels, DotProductsAreAccumulatedInF64) {
  std::mt19937_64 random(4);
  for (const int64_t k : {1, 15, 16, 255, 257, 1000}) {
    for (const int32_t a_dtype : {MOE4J_F32, MOE4J_BF16}) {
      std::vector<float> a(static_cast<size_t>(8 * k));
      std::vector<uint16_t> a_halves;
      std::vector<float> b(static_cast<size_t>(8 * k));
      for (float& value : a) {
        value = static_cast<float>(random() % 20001) - 1e4f;
        a_halves.push_back(f32_to_bf16(value));
        if (a_dtype == MOE4J_BF16) value = bf16_to_f32(a_halves.back());
      }
      for (float& value : b) value = static_cast<float>(random() % 20001) / 7 - 1e3f;
      double sums[64];
      const void* source =
          a_dtype == MOE4J_F32 ? static_cast<const void*>(a.data()) : a_halves.data();
      fast().dot_f64({k, a_dtype, source, 3, MOE4J_F32, b.data(), 8, sums});
      for (int64_t i = 0; i < 3; ++i) {
        for (int64_t j = 0; j < 8; ++j) {
          long double expected = 0;
          long double magnitude = 0;
          for (int64_t n = 0; n < k; ++n) {
            const long double term = static_cast<long double>(a[static_cast<size_t>(i * k + n)]) *
                                     b[static_cast<size_t>(j * k + n)];
            expected += term;
            magnitude += std::abs(term);
          }
          ASSERT_NEAR(sums[i * 8 + j], static_cast<double>(expected),
                      static_cast<double>(magnitude) * 1e-13);
        }
      }
    }
  }
}

}  // namespace
}  // namespace moe4j
