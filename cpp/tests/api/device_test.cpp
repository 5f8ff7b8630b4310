// Lifecycles through the C ABI: devices, memory, layers, counters.
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "api/tiny_layer.hpp"
#include "moe4j/moe4j.h"

namespace moe4j {
namespace {

class LiveDevice : public test::TinyLayer {
 protected:
  moe4j_device_counters counters() const {
    moe4j_device_counters now{};
    EXPECT_EQ(moe4j_device_counters_get(device, &now), MOE4J_OK) << moe4j_last_error();
    return now;
  }
};

TEST(Library, SaysItsVersions) {
  EXPECT_EQ(moe4j_abi_version(), MOE4J_ABI_VERSION);
  EXPECT_EQ(std::string(moe4j_version()), MOE4J_EXPECTED_VERSION);
}

TEST_F(LiveDevice, DescribesItself) {
  int32_t count = 0;
  ASSERT_EQ(moe4j_device_count(MOE4J_CPU, &count), MOE4J_OK);
  EXPECT_EQ(count, 1);
  moe4j_device_info info{};
  ASSERT_EQ(moe4j_device_info_get(device, &info), MOE4J_OK);
  EXPECT_EQ(info.kind, MOE4J_CPU);
  EXPECT_EQ(info.index, 0);
  EXPECT_EQ(info.compute_units, 2);
  EXPECT_EQ(info.compute_capability, 0);
  EXPECT_GT(info.memory_bytes, 0);
  EXPECT_GT(info.last_level_cache_bytes, 0);
  EXPECT_GT(std::strlen(info.name), 0u);
}

TEST_F(LiveDevice, AllocationsAreAlignedUniqueAndCounted) {
  const moe4j_device_counters before = counters();
  std::set<void*> pointers;
  for (const int64_t bytes : {int64_t{0}, int64_t{0}, int64_t{1}, int64_t{1000}}) {
    void* pointer = nullptr;
    ASSERT_EQ(moe4j_allocate(device, bytes, &pointer), MOE4J_OK);
    EXPECT_NE(pointer, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pointer) % MOE4J_ALIGNMENT, 0u);
    EXPECT_TRUE(pointers.insert(pointer).second);
  }
  EXPECT_EQ(counters().live_allocations, before.live_allocations + 4);
  EXPECT_GE(counters().live_bytes, before.live_bytes + 1001);
  for (void* pointer : pointers) EXPECT_EQ(moe4j_free(device, pointer), MOE4J_OK);
  EXPECT_EQ(counters().live_allocations, before.live_allocations);
  EXPECT_EQ(counters().live_bytes, before.live_bytes);
  EXPECT_EQ(moe4j_free(device, nullptr), MOE4J_OK);
}

TEST_F(LiveDevice, CopiesBothWays) {
  void* memory = nullptr;
  ASSERT_EQ(moe4j_allocate(device, 5, &memory), MOE4J_OK);
  const char out[] = "moe4";
  char back[5] = {};
  EXPECT_EQ(moe4j_copy_to_device(device, memory, out, 5, nullptr), MOE4J_OK);
  EXPECT_EQ(moe4j_copy_to_host(device, back, memory, 5, nullptr), MOE4J_OK);
  EXPECT_STREQ(back, out);
  EXPECT_EQ(moe4j_copy_to_device(device, nullptr, nullptr, 0, nullptr), MOE4J_OK);
  EXPECT_EQ(moe4j_synchronize(device, nullptr), MOE4J_OK);
  EXPECT_EQ(moe4j_free(device, memory), MOE4J_OK);
}

TEST_F(LiveDevice, CountsLayersAndTheirBytes) {
  const moe4j_device_counters before = counters();
  EXPECT_EQ(before.live_layers, 1);
  int64_t bytes = 0;
  ASSERT_EQ(moe4j_layer_bytes(layer, &bytes), MOE4J_OK);
  EXPECT_GT(bytes, 0);
  moe4j_layer* second = nullptr;
  ASSERT_EQ(moe4j_layer_create(device, &desc, &second), MOE4J_OK);
  EXPECT_EQ(counters().live_layers, 2);
  moe4j_layer_destroy(second);
  EXPECT_EQ(counters().live_layers, 1);
  EXPECT_EQ(counters().live_bytes, before.live_bytes);
  moe4j_layer_destroy(nullptr);
}

TEST_F(LiveDevice, CloseIsRefusedWhileAnythingLivesAndWorksAfterwards) {
  moe4j_device* other = nullptr;
  ASSERT_EQ(moe4j_device_open(MOE4J_CPU, 0, 1, "portable", &other), MOE4J_OK);
  void* memory = nullptr;
  ASSERT_EQ(moe4j_allocate(other, 64, &memory), MOE4J_OK);
  EXPECT_EQ(moe4j_device_close(other), MOE4J_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moe4j_last_error()).find("1 live allocations (64 bytes)"),
            std::string::npos)
      << moe4j_last_error();
  EXPECT_EQ(moe4j_free(other, memory), MOE4J_OK) << "the refusal leaves the device usable";

  moe4j_layer* live = nullptr;
  ASSERT_EQ(moe4j_layer_create(other, &desc, &live), MOE4J_OK);
  EXPECT_EQ(moe4j_device_close(other), MOE4J_INVALID_ARGUMENT);
  moe4j_layer_destroy(live);
  EXPECT_EQ(moe4j_device_close(other), MOE4J_OK) << moe4j_last_error();
  EXPECT_EQ(moe4j_device_close(nullptr), MOE4J_OK);
}

TEST_F(LiveDevice, CountsLaunchesAndThoseThatRoute) {
  const moe4j_device_counters before = counters();
  ASSERT_EQ(moe4j_launch(layer, &args), MOE4J_OK) << moe4j_last_error();
  EXPECT_EQ(counters().launches, before.launches + 1);
  EXPECT_EQ(counters().routing_launches, before.routing_launches + 1);

  const std::vector<int32_t> packed(kTokens * kTopK, 1 << 16 | 0x3F80);
  std::vector<int32_t> distinct = packed;
  for (size_t i = 0; i < distinct.size(); i += 2) distinct[i] = 2 << 16 | 0x3F80;
  args.routing_mode = MOE4J_PACKED;
  args.routing_logits = nullptr;
  args.topk_packed = distinct.data();
  ASSERT_EQ(moe4j_launch(layer, &args), MOE4J_OK) << moe4j_last_error();
  EXPECT_EQ(counters().launches, before.launches + 2);
  EXPECT_EQ(counters().routing_launches, before.routing_launches + 1);

  args.topk_packed = packed.data();
  EXPECT_EQ(moe4j_launch(layer, &args), MOE4J_INVALID_ARGUMENT);
  EXPECT_EQ(counters().launches, before.launches + 2) << "a refused launch is not counted";
}

TEST_F(LiveDevice, NoTokensNeedNoTensors) {
  moe4j_launch_args nothing = args;
  nothing.tokens = 0;
  nothing.hidden_states = nothing.output = nullptr;
  nothing.routing_logits = nullptr;
  EXPECT_EQ(moe4j_launch(layer, &nothing), MOE4J_OK) << moe4j_last_error();
}

TEST_F(LiveDevice, EveryTacticHasANameOfItsOwnAndTheFirstIsAlwaysThere) {
  std::set<int32_t> defaults;
  for (const int64_t tokens : {1, 2, 7, 64, 4096}) {
    int32_t count = 0;
    ASSERT_EQ(moe4j_layer_tactics(layer, tokens, nullptr, 0, &count), MOE4J_OK);
    ASSERT_GE(count, 1);
    std::vector<int32_t> ids(count, -1);
    ASSERT_EQ(moe4j_layer_tactics(layer, tokens, ids.data(), count, &count), MOE4J_OK);
    std::set<std::string> names;
    for (const int32_t id : ids) {
      const char* name = moe4j_tactic_name(device, id);
      ASSERT_NE(name, nullptr);
      EXPECT_TRUE(names.insert(name).second) << name;
    }
    int32_t first = -1;
    ASSERT_EQ(moe4j_layer_tactics(layer, tokens, &first, 1, &count), MOE4J_OK);
    EXPECT_EQ(first, ids[0]);
    EXPECT_EQ(count, static_cast<int32_t>(ids.size())) << "all are counted, one is written";
  }
}

}  // namespace
}  // namespace moe4j
