// What a device's calls leave behind: in the calling thread, on other GPUs, in a capture, in
// memory.
#include "cuda/fused_moe_cuda.hpp"

namespace moe4j::test {
namespace {

void check(int32_t status) { ASSERT_EQ(status, MOE4J_OK) << moe4j_last_error(); }

class DeviceCuda : public FusedMoeCuda {};

/** A later launch does not answer for it. */
TEST_F(DeviceCuda, ARefusedCallFailsAlone) {
  const std::vector<float> source(64, 1.0f);
  const Buffer x(device(), source.data(), 64);
  const Buffer codes(device(), 64);
  const Buffer scales(device(), 64);
  const Buffer logits(device(), 64);
  float host[64];
  const auto refused = [&] {
    ASSERT_NE(moe4j_copy_to_device(device().get(), host, source.data(), sizeof(host), nullptr),
              MOE4J_OK);
  };
  refused();
  check(moe4j_quantize(device().get(), MOE4J_FORMAT_MXFP8, 1, 64, MOE4J_F32, x.data(), 1,
                       codes.data(), scales.data(), nullptr));
  refused();
  check(moe4j_router_logits(device().get(), 1, 64, 1, MOE4J_F32, x.data(), MOE4J_F32, x.data(),
                            MOE4J_F32, nullptr, logits.as<float>(), nullptr));
  refused();
  const auto another_layer = [&] {
    Random random(42);
    sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 64, 64, 2, 1)
        .load(device());
  };
  EXPECT_NO_THROW(another_layer());
}

}  // namespace
}  // namespace moe4j::test
