// CUDA devices, and the one symbol that libmoe4j.so asks this library for.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>

#include "cuda/device_guard.hpp"
#include "cuda/kernels.hpp"
#include "cuda/relaxed_capture.hpp"
#include "cuda/tactic.hpp"
#include "launchers/cuda_context.hpp"
#include "launchers/cuda_layer.hpp"
#include "launchers/plugin.hpp"

namespace moe4j::cuda {
namespace {

constexpr int32_t kMinComputeCapability = 80;  // mma.sync of BF16, cp.async

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

/** A graph would use the host's memory at each replay, when it may be anybody's. */
Status refuse_capture(void* stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  MOE4J_RETURN_IF_ERROR(cuda_status(cudaStreamIsCapturing(stream_of(stream), &status),
                                    "asking whether the stream is being captured"));
  if (status == cudaStreamCaptureStatusNone) return Status::ok();
  return invalid_argument(
      "stream: found one that is being captured, expected another for a copy of host memory");
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int32_t index) { context_.index = index; }

  ~CudaDevice() override {
    if (context_.primary == nullptr) return;  // open() failed
    const DeviceGuard guard(context_.primary);
    context_.graphs.reset();
  }

  Status open() {
    MOE4J_RETURN_IF_ERROR(
        cuda_status(primary_context(context_.index, &context_.primary), "choosing the device"));
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    MOE4J_RETURN_IF_ERROR(cuda_status(cudaGetDeviceProperties(&properties_, context_.index),
                                      "asking for the device's properties"));
    context_.multiprocessors = properties_.multiProcessorCount;
    context_.compute_capability = 10 * properties_.major + properties_.minor;
    if (context_.compute_capability < kMinComputeCapability) {
      return failure(MOE4J_DEVICE_UNAVAILABLE,
                     "cuda:%d: found compute capability %d.%d (%s), expected 8.0 or later",
                     context_.index, properties_.major, properties_.minor, properties_.name);
    }
    int32_t architecture = 0;
    MOE4J_RETURN_IF_ERROR(kernel_architecture(&architecture));
    context_.graphs.emplace(architecture >= 90);  // Hopper's kernels wait themselves
    return prepare_permute(&context_.max_experts);
  }

  moe4j_device_info info() const noexcept override {
    moe4j_device_info info = {};
    info.kind = MOE4J_CUDA;
    info.index = context_.index;
    info.compute_units = context_.multiprocessors;
    info.compute_capability = context_.compute_capability;
    cudaDriverGetVersion(&info.driver_version);
    info.memory_bytes = static_cast<int64_t>(properties_.totalGlobalMem);
    info.last_level_cache_bytes = properties_.l2CacheSize;
    std::snprintf(info.name, sizeof(info.name), "%.127s", properties_.name);
    std::snprintf(info.instruction_sets, sizeof(info.instruction_sets), "sm_%d%s",
                  context_.compute_capability, context_.compute_capability == 90 ? "a" : "");
    return info;
  }

  moe4j_device_counters counters() const noexcept override { return context_.counts.read(); }

  Status allocate(int64_t bytes, void** pointer) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    const RelaxedCapture relaxed;
    void* memory = nullptr;
    // cudaMalloc aligns to 256 bytes; 0 bytes would give no pointer.
    const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
    if (error != cudaSuccess) {
      cudaGetLastError();
      return failure(error == cudaErrorMemoryAllocation ? MOE4J_OUT_OF_MEMORY : MOE4J_DEVICE_ERROR,
                     "bytes: cannot allocate %lld bytes on cuda:%d: %s",
                     static_cast<long long>(bytes), context_.index, cudaGetErrorString(error));
    }
    if (!allocations_.add(memory, bytes)) {
      cudaFree(memory);
      return failure(MOE4J_OUT_OF_MEMORY, "bytes: no host memory");
    }
    *pointer = memory;
    return Status::ok();
  }

  Status free(void* pointer) noexcept override {
    MOE4J_RETURN_IF_ERROR(allocations_.remove(pointer));
    // If what follows fails, the device is lost, memory and all, and shall still be closed.
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    const RelaxedCapture relaxed;
    return cuda_status(cudaFree(pointer), "freeing memory");
  }

  Status copy_to_device(void* destination, const void* source, int64_t bytes,
                        void* stream) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    MOE4J_RETURN_IF_ERROR(refuse_capture(stream));
    return cuda_status(cudaMemcpyAsync(destination, source, static_cast<size_t>(bytes),
                                       cudaMemcpyHostToDevice, stream_of(stream)),
                       "copying to the device");
  }

  Status copy_to_host(void* destination, const void* source, int64_t bytes,
                      void* stream) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    MOE4J_RETURN_IF_ERROR(refuse_capture(stream));
    MOE4J_RETURN_IF_ERROR(
        cuda_status(cudaMemcpyAsync(destination, source, static_cast<size_t>(bytes),
                                    cudaMemcpyDeviceToHost, stream_of(stream)),
                    "copying to the host"));
    return synchronize(stream);
  }

  Status synchronize(void* stream) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    const RelaxedCapture relaxed;
    return cuda_status(cudaStreamSynchronize(stream_of(stream)), "waiting for the stream");
  }

  Status create_layer(const moe4j_layer_desc& desc,
                      std::unique_ptr<Layer>* layer) noexcept override {
    return cuda::create_layer(context_, desc, layer);
  }

  const char* tactic_name(int32_t id) const noexcept override {
    return id >= 0 && id < num_tactics() ? tactic(id).name : nullptr;
  }

  uint64_t tactic_table_hash() const noexcept override { return cuda::tactic_table_hash(); }

  Status quantize(int32_t format, int64_t rows, int64_t k, int32_t source_dtype, const void* source,
                  float tensor_scale, void* codes, void* scales, void* stream) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    return launch_quantize(stream_of(stream), format, rows, k, source_dtype == MOE4J_BF16, source,
                           tensor_scale, static_cast<uint8_t*>(codes),
                           static_cast<uint8_t*>(scales));
  }

  Status dequantize(int32_t format, int64_t rows, int64_t k, const void* codes, const void* scales,
                    float tensor_scale, float* destination, void* stream) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    return launch_dequantize(stream_of(stream), format, rows, k, static_cast<const uint8_t*>(codes),
                             static_cast<const uint8_t*>(scales), tensor_scale, destination);
  }

  Status swizzle_scales(int64_t rows, int64_t columns, const void* linear, void* swizzled,
                        void* stream) noexcept override {
    return rearrange_scales(rows, columns, linear, swizzled, stream, true);
  }

  Status unswizzle_scales(int64_t rows, int64_t columns, const void* swizzled, void* linear,
                          void* stream) noexcept override {
    return rearrange_scales(rows, columns, swizzled, linear, stream, false);
  }

  Status router_logits(int64_t tokens, int64_t hidden_size, int64_t num_experts,
                       int32_t hidden_dtype, const void* hidden_states, int32_t weight_dtype,
                       const void* weight, int32_t bias_dtype, const void* bias, float* logits,
                       void* stream) noexcept override {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    return launch_router_logits(
        stream_of(stream),
        {tokens, hidden_size, num_experts, hidden_states, hidden_dtype == MOE4J_BF16, weight,
         weight_dtype == MOE4J_BF16, bias, bias_dtype == MOE4J_BF16, logits});
  }

 private:
  Status rearrange_scales(int64_t rows, int64_t columns, const void* source, void* destination,
                          void* stream, bool to_swizzled) noexcept {
    const DeviceGuard guard(context_.primary);
    MOE4J_RETURN_IF_ERROR(guard.status());
    return launch_swizzle_scales(stream_of(stream), rows, columns,
                                 static_cast<const uint8_t*>(source),
                                 static_cast<uint8_t*>(destination), to_swizzled);
  }

  CudaContext context_;
  cudaDeviceProp properties_ = {};
  Allocations allocations_{context_.counts};
};

Status count_devices(int32_t* count) noexcept {
  int found = 0;
  const cudaError_t error = cudaGetDeviceCount(&found);
  *count = error == cudaSuccess ? found : 0;
  if (*count > 0) return Status::ok();
  cudaGetLastError();
  try {
    return {MOE4J_OK,
            std::string("CUDA: found no device: ") +
                (error == cudaSuccess ? "the driver lists none" : cudaGetErrorString(error))};
  } catch (const std::bad_alloc&) {
    return Status::ok();
  }
}

Status open_device(int32_t index, std::unique_ptr<Device>* device) noexcept {
  try {
    auto opened = std::make_unique<CudaDevice>(index);
    MOE4J_RETURN_IF_ERROR(opened->open());
    *device = std::move(opened);
    return Status::ok();
  } catch (const std::bad_alloc&) {
    return failure(MOE4J_OUT_OF_MEMORY, "cuda:%d: no host memory", index);
  }
}

constexpr DevicePlugin kPlugin = {MOE4J_ABI_VERSION, count_devices, open_device};

}  // namespace
}  // namespace moe4j::cuda

extern "C" __attribute__((visibility("default"))) const moe4j::DevicePlugin* moe4j_device_plugin() {
  return &moe4j::cuda::kPlugin;
}
