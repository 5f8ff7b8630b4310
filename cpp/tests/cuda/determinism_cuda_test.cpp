// The same bits for the same arguments: from graphs, on several streams, beside other work, with
// any garbage in the workspace; and no memory that a launch keeps.
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "cuda/cuda_stream.hpp"
#include "cuda/fused_moe_cuda.hpp"

namespace moe4j::test {
namespace {

/** One launch as a graph, with the run's tensors. */
class CapturedLaunch {
 public:
  CapturedLaunch(DeviceRun& run, int32_t tactic) {
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal));
    run.launch(tactic, stream_.get());
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_.get(), &graph));
    check(cudaGraphInstantiate(&executable_, graph, 0));
    check(cudaGraphDestroy(graph));
  }
  ~CapturedLaunch() { cudaGraphExecDestroy(executable_); }
  CapturedLaunch(const CapturedLaunch&) = delete;

  /** Starts it on its own stream. */
  void replay() const { check(cudaGraphLaunch(executable_, stream_.get())); }

 private:
  Stream stream_;
  cudaGraphExec_t executable_ = nullptr;
};

class DeterminismCuda : public CudaTest {
 protected:
  static constexpr int32_t kExperts = 12;

  RandomLayer draw(Random& random) const {
    return sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 128,
                       kExperts, 3);
  }

  static void route(const DeviceRun& run, const std::vector<float>& logits) {
    check(cudaMemcpy(const_cast<void*>(run.args.routing_logits), logits.data(), logits.size() * 4,
                     cudaMemcpyHostToDevice));
  }

  static std::vector<float> draw_logits(Random& random, int64_t tokens) {
    std::vector<float> logits;
    for (int64_t i = 0; i < tokens * kExperts; ++i) logits.push_back(random.normal());
    return logits;
  }

  static int64_t free_memory() {
    size_t free = 0;
    size_t total = 0;
    check(cudaMemGetInfo(&free, &total));
    return static_cast<int64_t>(free);
  }
};

/** A graph captured once, replayed while routing changes in place, beside eager launches. */
TEST_F(DeterminismCuda, AThousandReplaysGiveTheBitsOfEagerRuns) {
  Random random(19);
  const RandomLayer drawn = draw(random);
  const Layer layer = drawn.load(device());
  for (const int64_t tokens : {1, 8, 50, 300}) {
    const RandomInputs inputs(random, drawn, tokens);
    const moe4j_launch_args args = with_logits(inputs.args, draw_logits(random, tokens));
    const auto tactics = named_tactics(device(), layer, tokens);
    DeviceRun eager(device(), layer, drawn.desc, args);
    DeviceRun captured(device(), layer, drawn.desc, args);
    for (const auto& [name, id] : tactics) {
      SCOPED_TRACE(name + " tokens " + std::to_string(tokens));
      const CapturedLaunch graph(captured, id);
      const int replays = name == tactics.front().first ? 1000 : 100;
      for (int replay = 0; replay < replays; ++replay) {
        const std::vector<float> logits = draw_logits(random, tokens);
        for (const DeviceRun* run : {&eager, &captured}) {
          route(*run, logits);
          run->poison();
        }
        check(cudaDeviceSynchronize());
        graph.replay();
        eager.launch(id);  // on another stream, at the same time
        check(cudaDeviceSynchronize());
        ASSERT_EQ(captured.bits(), eager.bits()) << "replay " << replay;
        ASSERT_EQ(captured.ids(), eager.ids()) << "replay " << replay;
      }
    }
  }
}

TEST_F(DeterminismCuda, GraphsOnTwoStreamsAtOnceGiveTheBitsOfEagerRuns) {
  Random random(20);
  const RandomLayer drawn = draw(random);
  const Layer layer = drawn.load(device());
  for (const int64_t tokens : {8, 300}) {
    const RandomInputs inputs[] = {{random, drawn, tokens}, {random, drawn, tokens}};
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name + " tokens " + std::to_string(tokens));
      DeviceRun first(device(), layer, drawn.desc, inputs[0].args);
      DeviceRun second(device(), layer, drawn.desc, inputs[1].args);
      first.launch(id);
      check(cudaDeviceSynchronize());
      second.launch(id);
      const auto first_bits = first.bits();
      const auto second_bits = second.bits();
      const CapturedLaunch first_graph(first, id);
      const CapturedLaunch second_graph(second, id);
      for (int turn = 0; turn < 10; ++turn) {
        first.poison();
        second.poison();
        check(cudaDeviceSynchronize());
        for (int replay = 0; replay < 20; ++replay) {
          first_graph.replay();
          second_graph.replay();
        }
        check(cudaDeviceSynchronize());
        ASSERT_EQ(first.bits(), first_bits);
        ASSERT_EQ(second.bits(), second_bits);
      }
    }
  }
}

/** Launches are graphs of the device's own, one for each stream up to a limit. */
TEST_F(DeterminismCuda, AHundredStreamsAtOnceGiveTheBitsOfOne) {
  Random random(30);
  const RandomLayer drawn = draw(random);
  const Layer layer = drawn.load(device());
  constexpr int kStreams = 100;
  const RandomInputs inputs(random, drawn, 40);
  const Stream streams[kStreams];
  std::vector<std::unique_ptr<DeviceRun>> runs;
  for (int i = 0; i < kStreams; ++i) {
    runs.push_back(std::make_unique<DeviceRun>(device(), layer, drawn.desc, inputs.args));
  }
  for (const auto& [name, id] : named_tactics(device(), layer, 40)) {
    SCOPED_TRACE(name);
    runs[0]->launch(id);
    const auto expected = runs[0]->bits();
    for (const auto& run : runs) run->poison();
    check(cudaDeviceSynchronize());
    for (int i = 0; i < kStreams; ++i) runs[i]->launch(id, streams[i].get());
    check(cudaDeviceSynchronize());
    for (const auto& run : runs) ASSERT_EQ(run->bits(), expected);
  }
}

TEST_F(DeterminismCuda, ALaunchLeavesAnotherThreadsCaptureAlone) {
  Random random(31);
  const RandomLayer drawn = draw(random);
  const Layer layer = drawn.load(device());
  const RandomInputs inputs(random, drawn, 40);
  DeviceRun captured(device(), layer, drawn.desc, inputs.args);
  DeviceRun run(device(), layer, drawn.desc, inputs.args);
  for (const auto& [name, id] : named_tactics(device(), layer, 40)) {
    SCOPED_TRACE(name);
    run.launch(id);
    const auto expected = run.bits();
    run.poison();
    const Stream capturing;
    const Stream stream;  // of which no launch has been yet
    check(cudaStreamBeginCapture(capturing.get(), cudaStreamCaptureModeGlobal));
    captured.launch(id, capturing.get());
    std::thread([&, id = id] { run.launch(id, stream.get()); }).join();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(capturing.get(), &graph));
    check(cudaGraphDestroy(graph));
    check(cudaStreamSynchronize(stream.get()));
    ASSERT_EQ(run.bits(), expected);
  }
}

/** Another layer's launches take multiprocessors away while each tactic runs. */
TEST_F(DeterminismCuda, OtherWorkOnTheDeviceChangesNoBit) {
  Random random(26);
  const RandomLayer drawn =
      sized_layer(random, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 1024, 512, 16, 4);
  const RandomLayer disturber =
      sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 512, 512, 16, 4);
  const Layer layer = drawn.load(device());
  const Layer other = disturber.load(device());
  const RandomInputs other_inputs(random, disturber, 900);
  DeviceRun other_run(device(), other, disturber.desc, other_inputs.args);
  const Stream other_stream;
  const Stream stream;
  for (const int64_t tokens : {2, 8, 100, 700}) {
    const RandomInputs inputs(random, drawn, tokens);
    DeviceRun run(device(), layer, drawn.desc, inputs.args);
    for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
      SCOPED_TRACE(name + " tokens " + std::to_string(tokens));
      run.launch(id, stream.get());
      check(cudaDeviceSynchronize());
      const auto quiet = run.bits();
      for (int turn = 0; turn < 10; ++turn) {
        run.poison();
        check(cudaDeviceSynchronize());
        for (int i = 0; i < 3; ++i) other_run.launch(other.tactics(900)[0], other_stream.get());
        run.launch(id, stream.get());
        check(cudaDeviceSynchronize());
        ASSERT_EQ(run.bits(), quiet) << "turn " << turn;
      }
    }
  }
}

TEST_F(DeterminismCuda, WhatTheWorkspaceHeldChangesNoBit) {
  Random random(27);
  for (const auto& [weights, activations] : {std::pair{MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_BF16},
                                             {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_NVFP4},
                                             {MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP8},
                                             {MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_FP8_PER_TOKEN}}) {
    const RandomLayer drawn =
        sized_layer(random, weights, activations, MOE4J_SWIGLU, 224, 96, 7, 3);
    const Layer layer = drawn.load(device());
    for (const int64_t tokens : {1, 8, 50, 1100}) {
      const RandomInputs inputs(random, drawn, tokens);
      DeviceRun run(device(), layer, drawn.desc, inputs.args);
      for (const auto& [name, id] : named_tactics(device(), layer, tokens)) {
        SCOPED_TRACE(name + " " + describe(drawn.desc, tokens));
        run.fill_workspace(0);
        run.launch(id);
        const auto expected = run.bits();
        for (const int byte : {0xFF, 0x7F, 0x01}) {  // NaN, huge, tiny
          run.poison();
          run.fill_workspace(byte);
          run.launch(id);
          ASSERT_EQ(run.bits(), expected) << "workspace of bytes " << byte;
        }
      }
    }
  }
}

TEST_F(DeterminismCuda, LaunchesAndReplaysKeepNoDeviceMemory) {
  Random random(28);
  const RandomLayer drawn = draw(random);
  const Layer layer = drawn.load(device());
  const RandomInputs inputs(random, drawn, 50);
  DeviceRun run(device(), layer, drawn.desc, inputs.args);
  const auto turn = [&](int32_t tactic) {
    const CapturedLaunch graph(run, tactic);
    graph.replay();
    check(cudaDeviceSynchronize());  // both use one workspace
    run.launch(tactic);
    check(cudaDeviceSynchronize());
  };
  for (const int32_t tactic : layer.tactics(50)) turn(tactic);  // loads kernels
  const int64_t live = device().counters().live_bytes;
  // Other processes may use the device too. A leak takes memory in every round.
  constexpr int kRounds = 8;
  bool keeps = true;
  for (int round = 0; round < kRounds && keeps; ++round) {
    const int64_t before = free_memory();
    for (int i = 0; i < 20; ++i) {
      for (const int32_t tactic : layer.tactics(50)) turn(tactic);
    }
    keeps = free_memory() < before;
  }
  EXPECT_FALSE(keeps) << "less memory is free after each of " << kRounds << " rounds";
  EXPECT_EQ(device().counters().live_bytes, live);
}

TEST_F(DeterminismCuda, ThreadsShareALayerWithoutLeaking) {
  Random random(29);
  const RandomLayer drawn = draw(random);
  const Layer layer = drawn.load(device());
  const RandomInputs inputs(random, drawn, 33);
  const int32_t tactic = layer.tactics(33)[0];
  DeviceRun expected(device(), layer, drawn.desc, inputs.args);
  expected.launch(tactic);
  const auto bits = expected.bits();
  const int64_t held = device().counters().live_allocations;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 20; ++turn) {
        DeviceRun run(device(), layer, drawn.desc, inputs.args);
        run.launch(tactic);
        EXPECT_EQ(run.bits(), bits);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(device().counters().live_allocations, held);
}

}  // namespace
}  // namespace moe4j::test
