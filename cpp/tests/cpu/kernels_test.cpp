// Each instruction set's kernels against the portable ones.
#include "cpu/kernels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cpu/panel_layout.hpp"
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
};

INSTANTIATE_TEST_SUITE_P(Cpu, EachKernels,
                         testing::Values(InstructionSet::kPortable, InstructionSet::kAvx2,
                                         InstructionSet::kAvx512, InstructionSet::kAvx512Bf16),
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

/** Products of random panels with tiles of the given sizes must agree, and every tile's tokens must
 *  get what they would get alone. */
void expect_agreement(const Kernels& fast, int32_t format, int64_t num_chunks,
                      const std::vector<int32_t>& tile_sizes) {
  std::mt19937_64 random(static_cast<uint64_t>(format * 1000 + num_chunks));
  AlignedBytes panel(num_chunks * chunk_bytes(format));
  fill_panel(random, format, num_chunks, panel.data());

  const int64_t k = num_chunks * kChunkK;
  std::vector<std::vector<float>> exact;
  std::vector<std::vector<uint16_t>> rounded;
  for (const int32_t tokens : tile_sizes) {
    exact.emplace_back(static_cast<size_t>(k * tokens));
    rounded.emplace_back();
    for (float& element : exact.back()) {
      rounded.back().push_back(static_cast<uint16_t>((random() & 0x80FF) | 0x3F00));
      element = bf16_to_f32(rounded.back().back());
    }
  }
  std::vector<TokenTile> exact_tiles;
  std::vector<TokenTile> tiles;
  int64_t tokens = 0;
  for (size_t i = 0; i < tile_sizes.size(); ++i) {
    exact_tiles.push_back({exact[i].data(), tile_sizes[i]});
    const void* elements = fast.element == ActivationElement::kF32
                               ? static_cast<const void*>(exact[i].data())
                               : rounded[i].data();
    tiles.push_back({elements, tile_sizes[i]});
    tokens += tile_sizes[i];
  }
  alignas(64) float expected[kMaxGroupTokens * kPanelRows];
  alignas(64) float actual[kMaxGroupTokens * kPanelRows];
  std::fill(std::begin(actual), std::end(actual), std::numeric_limits<float>::quiet_NaN());
  const auto count = static_cast<int32_t>(tiles.size());
  kPortableKernels.multiply[format](
      {panel.data(), num_chunks, exact_tiles.data(), count, expected});
  fast.multiply[format]({panel.data(), num_chunks, tiles.data(), count, actual});

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
  const int32_t largest = GetParam() == InstructionSet::kAvx2 ? 6 : kMaxTileTokens;
  for (const int32_t format : kFormats) {
    for (const int64_t num_chunks : {1, 2, 5, 8, 9, 17}) {
      for (int32_t tokens = 1; tokens <= largest; ++tokens) {
        expect_agreement(fast(), format, num_chunks, {tokens});
        expect_agreement(fast(), format, num_chunks, {tokens, tokens, 1});
      }
      expect_agreement(fast(), format, num_chunks, std::vector<int32_t>(64, 1));
    }
  }
}

TEST_P(EachKernels, ATokenGetsTheSameBitsInEveryTile) {
  constexpr int64_t kChunks = 11;
  std::mt19937_64 random(3);
  for (const int32_t format : kFormats) {
    AlignedBytes panel(kChunks * chunk_bytes(format));
    fill_panel(random, format, kChunks, panel.data());
    const auto bytes = element_bytes(fast().element);
    // One token's elements, and two tiles that hold it beside others.
    for (const int32_t tokens : {2, 3, 6}) {
      std::vector<uint8_t> tile(static_cast<size_t>(kChunks * kChunkK * tokens * bytes));
      for (size_t i = 0; i < tile.size(); i += static_cast<size_t>(bytes)) {
        const float value = static_cast<float>(random() % 2001) / 1000 - 1;
        const uint16_t half = f32_to_bf16(value);
        if (bytes == 4) {
          std::memcpy(tile.data() + i, &value, 4);
        } else {
          std::memcpy(tile.data() + i, &half, 2);
        }
      }
      alignas(64) float together[kMaxGroupTokens * kPanelRows];
      alignas(64) float again[kMaxGroupTokens * kPanelRows];
      const TokenTile one = {tile.data(), tokens};
      const TokenTile twice[] = {one, one};
      fast().multiply[format]({panel.data(), kChunks, &one, 1, together});
      fast().multiply[format]({panel.data(), kChunks, twice, 2, again});
      if (GetParam() != InstructionSet::kAvx2) {  // whose many tokens take another path than few
        EXPECT_EQ(std::memcmp(together, again, sizeof(float) * tokens * kPanelRows), 0);
      }
      EXPECT_EQ(
          std::memcmp(again, again + tokens * kPanelRows, sizeof(float) * tokens * kPanelRows), 0);
    }
  }
}

TEST_P(EachKernels, SwigluIsAccurateOverItsWholeRange) {
  std::vector<float> gate;
  std::vector<float> up;
  for (double g = -120; g <= 120; g += 0.037) {
    gate.push_back(static_cast<float>(g));
    up.push_back(static_cast<float>(3 - g / 50));
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
