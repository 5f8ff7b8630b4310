// moe4j.hpp: who owns what, and what is thrown.
#include <gtest/gtest.h>

#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moe4j/moe4j.hpp"

namespace moe4j {
namespace {

TEST(CppWrapper, ThrowsTheStatusWithTheMessageOfTheLibrary) {
  try {
    Device::cpu(-1);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), MOE4J_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(error.what()).substr(0, 12), "num_threads:");
  }
  const Device device = Device::cpu(1);
  EXPECT_THROW(device.tactic_name(-1), Error);
  EXPECT_THROW(Buffer(device, -1), Error);
  EXPECT_THROW(Layer(device, default_layer_desc()), Error);
}

TEST(CppWrapper, BuffersKeepTheirDeviceOpenAndFreeThemselves) {
  std::vector<int32_t> values(100);
  std::iota(values.begin(), values.end(), 0);
  std::optional<Device> device = Device::cpu(1);
  const Device observer = *device;
  {
    Buffer buffer(*device, values.data(), 100);
    device.reset();
    EXPECT_EQ(observer.counters().live_allocations, 1);
    const Buffer moved = std::move(buffer);
    EXPECT_EQ(moved.bytes(), 400);
    std::vector<int32_t> back(100);
    moved.copy_to_host(back.data(), 100);
    EXPECT_EQ(back, values);
    EXPECT_EQ(observer.counters().live_allocations, 1);
  }
  EXPECT_EQ(observer.counters().live_allocations, 0);
}

TEST(CppWrapper, LayersDestroyThemselves) {
  const Device device = Device::cpu(1);
  {
    moe4j_layer_desc desc = default_layer_desc();
    desc.hidden_size = desc.intermediate_size = 64;
    desc.num_experts = desc.local_num_experts = 2;
    desc.top_k = 1;
    desc.weight_format = MOE4J_FORMAT_NVFP4;
    Layer layer(device, desc);
    EXPECT_EQ(device.counters().live_layers, 1);
    EXPECT_THROW(layer.seal(), Error) << "its experts are missing";
    EXPECT_THROW(layer.tactics(1), Error);
  }
  EXPECT_EQ(device.counters().live_layers, 0);
}

}  // namespace
}  // namespace moe4j
