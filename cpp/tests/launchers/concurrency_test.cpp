// Many callers, one device.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "launchers/launch.hpp"

namespace moe4j::test {
namespace {

RandomLayer draw_layer(Random& random) {
  return sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 128, 8, 2);
}

TEST(Concurrency, EightCallersOfOneLayerGetTheirOwnBits) {
  constexpr int kCallers = 8;
  constexpr int kRounds = 25;
  Random random(1);
  const RandomLayer drawn = draw_layer(random);
  const Device device = Device::cpu(3);
  const Layer layer = drawn.load(device);

  std::deque<RandomInputs> inputs;
  std::vector<Outputs> expected;
  for (int i = 0; i < kCallers; ++i) {
    inputs.emplace_back(random, drawn, 1 + 5 * i);
    const int32_t tactic = layer.tactics(inputs[i].args.tokens)[0];
    expected.push_back(must_launch(device, layer, drawn.desc, tactic, inputs[i].args));
  }
  const moe4j_device_counters before = device.counters();

  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      const int32_t tactic = layer.tactics(inputs[i].args.tokens)[0];
      for (int round = 0; round < kRounds; ++round) {
        const Outputs outputs = must_launch(device, layer, drawn.desc, tactic, inputs[i].args);
        if (!(outputs.output == expected[i].output)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
  const moe4j_device_counters after = device.counters();
  EXPECT_EQ(after.launches - before.launches, kCallers * kRounds);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.live_allocations, 0);
}

TEST(Concurrency, ExpertsMayBeSetFromSeveralThreads) {
  Random random(2);
  const RandomLayer drawn = draw_layer(random);
  const RandomInputs inputs(random, drawn, 9);
  const Device device = Device::cpu(2);
  const Layer expected_layer = drawn.load(device);
  const int32_t tactic = expected_layer.tactics(9)[0];
  const Outputs expected = must_launch(device, expected_layer, drawn.desc, tactic, inputs.args);

  Layer layer(device, drawn.desc);
  std::vector<std::thread> setters;
  for (int32_t first = 0; first < 4; ++first) {
    setters.emplace_back([&, first] {
      for (int32_t e = first; e < drawn.desc.num_experts; e += 4) {
        layer.set_expert(e, drawn.experts[static_cast<size_t>(e)]);
      }
    });
  }
  for (std::thread& setter : setters) setter.join();
  layer.seal();
  const Outputs outputs = must_launch(device, layer, drawn.desc, tactic, inputs.args);
  EXPECT_TRUE(outputs.output == expected.output);
}

TEST(Concurrency, LaunchesAndRoutingLaunchesAreCounted) {
  Random random(3);
  const RandomLayer drawn = draw_layer(random);
  const Device device = Device::cpu(2);
  const Layer layer = drawn.load(device);
  int64_t routed = 0;
  for (int i = 0; i < 12; ++i) {
    const RandomInputs inputs(random, drawn, 3);
    if (inputs.args.routing_mode == MOE4J_FROM_LOGITS) ++routed;
    must_launch(device, layer, drawn.desc, layer.tactics(3)[0], inputs.args);
  }
  EXPECT_EQ(device.counters().launches, 12);
  EXPECT_EQ(device.counters().routing_launches, routed);
}

}  // namespace
}  // namespace moe4j::test
