// What a device's calls leave behind: in the calling thread, on other GPUs, in a capture, in
// memory.
#include <cudaTypedefs.h>

#include <cstdlib>
#include <thread>

#include "cuda/cuda_stream.hpp"
#include "cuda/fused_moe_cuda.hpp"

namespace moe4j::test {
namespace {

using test::check;  // of the runtime's errors
void check(int32_t status) { ASSERT_EQ(status, MOE4J_OK) << moe4j_last_error(); }

/** A function of the driver, which this program is not linked with. */
template <class Function>
Function driver(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  check(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result));
  return reinterpret_cast<Function>(found);
}

CUcontext current_context() {
  static const auto get = driver<PFN_cuCtxGetCurrent_v4000>("cuCtxGetCurrent");
  CUcontext context = nullptr;
  EXPECT_EQ(get(&context), CUDA_SUCCESS);
  return context;
}

/** Runs `body` in a thread that has used no GPU. */
template <class Body>
void in_fresh_thread(Body body) {
  std::thread([&] {
    try {
      body();
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }).join();
}

/** A stream's capture. */
class Capture {
 public:
  explicit Capture(cudaStreamCaptureMode mode) { check(cudaStreamBeginCapture(stream(), mode)); }
  cudaStream_t stream() const { return stream_.get(); }

  /** Ends it, which fails where a call spoiled it; how many nodes the graph has. */
  size_t end() {
    cudaGraph_t graph = nullptr;
    size_t nodes = 0;
    check(cudaStreamEndCapture(stream(), &graph));
    if (graph == nullptr) return nodes;
    check(cudaGraphGetNodes(graph, nullptr, &nodes));
    check(cudaGraphDestroy(graph));
    return nodes;
  }

 private:
  Stream stream_;
};

class DeviceCuda : public FusedMoeCuda {
 protected:
  /** Opens a GPU, loads a layer, runs its default tactic, closes all; with moe4j's calls alone. */
  static void run_layer(int32_t index) {
    const CUcontext callers = current_context();
    Random random(41);
    const RandomLayer drawn =
        sized_layer(random, MOE4J_FORMAT_MXFP4, MOE4J_FORMAT_BF16, MOE4J_SWIGLU, 256, 128, 8, 2);
    const RandomInputs inputs(random, drawn, 20);
    const int64_t elements = 20 * 256;
    std::vector<double> values;
    {
      const Device device = Device::cuda(index);
      EXPECT_EQ(current_context(), callers) << "after opening";
      const Layer layer = drawn.load(device);
      EXPECT_EQ(current_context(), callers) << "after loading a layer";
      DeviceInputs on_device(device, drawn.desc, inputs.args);
      EXPECT_EQ(current_context(), callers) << "after allocating and copying";
      moe4j_launch_args args = on_device.args;
      args.tactic = layer.tactics(20)[0];
      args.workspace_bytes = layer.workspace_bytes(args.tactic, 20);
      const Buffer workspace(device, args.workspace_bytes);
      const Buffer output(device, elements * 4);
      args.workspace = workspace.data();
      args.output = output.data();
      args.output_dtype = MOE4J_F32;
      check(moe4j_launch(layer.get(), &args));
      EXPECT_EQ(current_context(), callers) << "after a launch";
      std::vector<float> floats(static_cast<size_t>(elements));
      output.copy_to_host(floats.data(), elements);
      values.assign(floats.begin(), floats.end());
    }
    EXPECT_EQ(current_context(), callers) << "after closing";
    EXPECT_LT(relative_l2(values, Oracle(drawn).output(inputs.args)), 4e-3);
  }
};

TEST_F(DeviceCuda, AThreadWithoutAContextStaysWithout) {
  in_fresh_thread([] {
    ASSERT_EQ(current_context(), nullptr);
    run_layer(0);
  });
}

TEST_F(DeviceCuda, AThreadKeepsItsOwnContext) {
  in_fresh_thread([] {
    CUcontext own = nullptr;
    ASSERT_EQ(driver<PFN_cuCtxCreate_v11040>("cuCtxCreate")(&own, nullptr, 0, 0, 0), CUDA_SUCCESS);
    run_layer(0);
    EXPECT_EQ(current_context(), own);
    ASSERT_EQ(driver<PFN_cuCtxDestroy_v4000>("cuCtxDestroy")(own), CUDA_SUCCESS);
  });
}

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

TEST_F(DeviceCuda, ACaptureForbidsOthersNothing) {
  const moe4j_device_counters before = device().counters();
  Capture capture(cudaStreamCaptureModeGlobal);
  const Stream stream;
  in_fresh_thread([&] {
    void* memory = nullptr;
    EXPECT_EQ(moe4j_allocate(device().get(), 1000, &memory), MOE4J_OK) << moe4j_last_error();
    EXPECT_EQ(moe4j_free(device().get(), memory), MOE4J_OK) << moe4j_last_error();
    Random random(43);
    for (const int32_t activations : {MOE4J_FORMAT_BF16, MOE4J_FORMAT_FP8_PER_TOKEN}) {
      const RandomLayer drawn =
          sized_layer(random, MOE4J_FORMAT_MXFP4, activations, MOE4J_SWIGLU, 256, 128, 4, 2);
      EXPECT_NO_THROW(drawn.load(device())) << "activation format " << activations;
    }
    int host = 1;
    const Buffer buffer(device(), 4);
    EXPECT_EQ(moe4j_copy_to_device(device().get(), buffer.data(), &host, 4, stream.get()), MOE4J_OK)
        << moe4j_last_error();
    EXPECT_EQ(moe4j_copy_to_host(device().get(), &host, buffer.data(), 4, stream.get()), MOE4J_OK)
        << moe4j_last_error();
  });
  EXPECT_EQ(capture.end(), 0u);
  EXPECT_EQ(device().counters().live_bytes, before.live_bytes);
  EXPECT_EQ(device().counters().live_allocations, before.live_allocations);
}

/** As where a tensor or a layer is closed between two launches that are being captured. */
TEST_F(DeviceCuda, WhatIsFreedDuringACaptureIsFreed) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const auto free_memory = [] {
    size_t free = 0;
    size_t total = 0;
    check(cudaMemGetInfo(&free, &total));
    return static_cast<int64_t>(free);
  };
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
    void* memory = nullptr;
    check(moe4j_allocate(device().get(), kBytes, &memory));
    moe4j_layer_desc desc = default_layer_desc();
    desc.hidden_size = desc.intermediate_size = 4096;
    desc.num_experts = desc.local_num_experts = 10;  // 1 GB
    desc.top_k = 1;
    auto layer = std::make_unique<Layer>(device(), desc);
    const int64_t held = free_memory();
    Capture capture(mode);
    EXPECT_EQ(moe4j_free(device().get(), memory), MOE4J_OK) << moe4j_last_error();
    layer.reset();
    EXPECT_EQ(capture.end(), 0u);
    EXPECT_GT(free_memory(), held + kBytes * 3 / 2);
  }
}

/** A replay would read or write host memory that is no longer the call's. */
TEST_F(DeviceCuda, HostMemoryIsNotCopiedByAGraph) {
  int host = 1;
  const Buffer buffer(device(), &host, 1);
  Capture capture(cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(moe4j_copy_to_device(device().get(), buffer.data(), &host, 4, capture.stream()),
            MOE4J_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moe4j_last_error()).find("stream"), std::string::npos);
  EXPECT_EQ(moe4j_copy_to_host(device().get(), &host, buffer.data(), 4, capture.stream()),
            MOE4J_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moe4j_last_error()).find("stream"), std::string::npos);
  EXPECT_EQ(capture.end(), 0u);
}

/** Needs a process of its own: other tests use GPU 0. */
class SecondGpuCuda : public DeviceCuda {
 protected:
  void SetUp() override {
    int32_t count = 0;
    check(moe4j_device_count(MOE4J_CUDA, &count));
    if (count < 2) GTEST_SKIP() << "NOT TESTED: found " << count << " GPUs, expected two";
    if (gpu0_is_used()) GTEST_SKIP() << "NOT TESTED: this process used GPU 0 before";
  }

  static bool gpu0_is_used() {
    unsigned flags = 0;
    int active = 0;
    EXPECT_EQ(driver<PFN_cuDevicePrimaryCtxGetState_v7000>("cuDevicePrimaryCtxGetState")(0, &flags,
                                                                                         &active),
              CUDA_SUCCESS);
    return active != 0;
  }
};

TEST_F(SecondGpuCuda, LeavesTheFirstAlone) {
  in_fresh_thread([] {
    ASSERT_EQ(current_context(), nullptr);
    run_layer(1);
  });
  EXPECT_FALSE(gpu0_is_used());
}

/** Nothing of it works any more; above all, it gives no memory of the first. */
TEST_F(SecondGpuCuda, FailsAfterAKernelsFault) {
  in_fresh_thread([] {
    moe4j_device* device = nullptr;
    check(moe4j_device_open(MOE4J_CUDA, 1, 0, nullptr, &device));
    void* memory = nullptr;
    check(moe4j_allocate(device, 4 * 64, &memory));
    const auto* nowhere = reinterpret_cast<const void*>(uintptr_t{256});
    check(moe4j_dequantize(device, MOE4J_FORMAT_MXFP8, 1, 64, nowhere, nowhere, 1,
                           static_cast<float*>(memory), nullptr));
    EXPECT_NE(moe4j_synchronize(device, nullptr), MOE4J_OK);
    void* other = nullptr;
    EXPECT_NE(moe4j_allocate(device, 1000, &other), MOE4J_OK);
    EXPECT_NE(moe4j_free(device, memory), MOE4J_OK);
    check(moe4j_device_close(device));
  });
  EXPECT_FALSE(gpu0_is_used());
}

}  // namespace
}  // namespace moe4j::test
