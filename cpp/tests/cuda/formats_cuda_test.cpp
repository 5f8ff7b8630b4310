// Quantizers, scale layouts and the router's projection on a CUDA device: the host's bits.
#include <cmath>
#include <string>

#include "cuda/device_launch.hpp"

namespace moe4j::test {
namespace {

class FormatsCuda : public CudaTest {
 protected:
  const Device cpu_ = Device::cpu(1);
};

TEST_F(FormatsCuda, QuantizesToTheHostsBits) {
  Random random(41);
  for (const int32_t format : {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_MXFP8}) {
    for (const int32_t dtype : {MOE4J_F32, MOE4J_BF16}) {
      const int64_t rows = 37;
      const int64_t k = 160;
      const int64_t count = rows * k;
      const int64_t code_bytes = format == MOE4J_FORMAT_MXFP8 ? count : count / 2;
      const int64_t scale_bytes = count / block_of(format);
      std::vector<float> f32;
      std::vector<uint16_t> bf16;
      for (int64_t i = 0; i < count; ++i) {
        // Codes' neighbourhoods, ties among them, over many magnitudes; some blocks of zeros.
        const float value = i / 32 % 11 == 0
                                ? 0.0f
                                : std::ldexp(static_cast<float>(random.between(-30, 30)),
                                             static_cast<int>(i / 160) - 20);
        f32.push_back(value);
        bf16.push_back(random.bf16(value));
      }
      const void* source = dtype == MOE4J_F32 ? static_cast<const void*>(f32.data()) : bf16.data();
      const float tensor_scale = format == MOE4J_FORMAT_NVFP4 ? 0.003f : 1.0f;
      std::vector<uint8_t> codes(static_cast<size_t>(code_bytes));
      std::vector<uint8_t> scales(static_cast<size_t>(scale_bytes));
      ASSERT_EQ(moe4j_quantize(cpu_.get(), format, rows, k, dtype, source, tensor_scale,
                               codes.data(), scales.data(), nullptr),
                MOE4J_OK)
          << moe4j_last_error();
      std::vector<float> values(static_cast<size_t>(count));
      ASSERT_EQ(moe4j_dequantize(cpu_.get(), format, rows, k, codes.data(), scales.data(),
                                 tensor_scale, values.data(), nullptr),
                MOE4J_OK);

      const Buffer device_source(device(), static_cast<const uint8_t*>(source),
                                 count * (dtype == MOE4J_F32 ? 4 : 2));
      const PoisonedBuffer device_codes(device(), code_bytes);
      const PoisonedBuffer device_scales(device(), scale_bytes);
      const PoisonedBuffer device_values(device(), count * 4);
      ASSERT_EQ(moe4j_quantize(device().get(), format, rows, k, dtype, device_source.data(),
                               tensor_scale, device_codes.data(), device_scales.data(), nullptr),
                MOE4J_OK)
          << moe4j_last_error();
      ASSERT_EQ(moe4j_dequantize(device().get(), format, rows, k, device_codes.data(),
                                 device_scales.data(), tensor_scale,
                                 static_cast<float*>(device_values.data()), nullptr),
                MOE4J_OK)
          << moe4j_last_error();
      EXPECT_EQ(device_codes.read<uint8_t>(), codes);
      EXPECT_EQ(device_scales.read<uint8_t>(), scales);
      EXPECT_EQ(device_values.read<float>(), values);
    }
  }
}

TEST_F(FormatsCuda, SwizzlesToTheHostsBytes) {
  Random random(42);
  for (const auto& [rows, columns] : {std::pair{1, 1}, {128, 4}, {129, 5}, {300, 45}, {7, 64}}) {
    std::vector<uint8_t> linear(static_cast<size_t>(rows * columns));
    for (uint8_t& byte : linear) byte = static_cast<uint8_t>(random.between(0, 255));
    const int64_t bytes = moe4j_swizzled_scale_bytes(rows, columns);
    std::vector<uint8_t> swizzled(static_cast<size_t>(bytes));
    ASSERT_EQ(
        moe4j_swizzle_scales(cpu_.get(), rows, columns, linear.data(), swizzled.data(), nullptr),
        MOE4J_OK);
    const Buffer source(device(), linear.data(), rows * columns);
    const PoisonedBuffer there(device(), bytes);
    const PoisonedBuffer back(device(), rows * columns);
    ASSERT_EQ(
        moe4j_swizzle_scales(device().get(), rows, columns, source.data(), there.data(), nullptr),
        MOE4J_OK);
    ASSERT_EQ(
        moe4j_unswizzle_scales(device().get(), rows, columns, there.data(), back.data(), nullptr),
        MOE4J_OK);
    EXPECT_EQ(there.read<uint8_t>(), swizzled);
    EXPECT_EQ(back.read<uint8_t>(), linear);
  }
}

TEST_F(FormatsCuda, ProjectsHiddenStatesToLogits) {
  Random random(43);
  const int64_t tokens = 5;
  const int64_t hidden = 333;
  const int64_t experts = 17;
  for (const int32_t dtype : {MOE4J_F32, MOE4J_BF16}) {
    const auto draw = [&](int64_t count, std::vector<double>* exact) {
      std::vector<uint8_t> bytes;
      for (int64_t i = 0; i < count; ++i) {
        const float value = random.normal();
        const uint16_t rounded = random.bf16(value);
        const auto* from = dtype == MOE4J_F32 ? reinterpret_cast<const uint8_t*>(&value)
                                              : reinterpret_cast<const uint8_t*>(&rounded);
        bytes.insert(bytes.end(), from, from + (dtype == MOE4J_F32 ? 4 : 2));
        exact->push_back(dtype == MOE4J_F32 ? static_cast<double>(value) : oracle_bf16(rounded));
      }
      return Buffer(device(), bytes.data(), static_cast<int64_t>(bytes.size()));
    };
    std::vector<double> x, w, b;
    const Buffer states = draw(tokens * hidden, &x);
    const Buffer weight = draw(experts * hidden, &w);
    const Buffer bias = draw(experts, &b);
    const PoisonedBuffer logits(device(), tokens * experts * 4);
    ASSERT_EQ(moe4j_router_logits(device().get(), tokens, hidden, experts, dtype, states.data(),
                                  dtype, weight.data(), dtype, bias.data(),
                                  static_cast<float*>(logits.data()), nullptr),
              MOE4J_OK)
        << moe4j_last_error();
    const auto actual = logits.read<float>();
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t e = 0; e < experts; ++e) {
        double sum = b[static_cast<size_t>(e)];
        for (int64_t h = 0; h < hidden; ++h) {
          sum += x[static_cast<size_t>(t * hidden + h)] * w[static_cast<size_t>(e * hidden + h)];
        }
        ASSERT_NEAR(actual[static_cast<size_t>(t * experts + e)], sum, 1e-4);
      }
    }
  }
}

}  // namespace
}  // namespace moe4j::test
