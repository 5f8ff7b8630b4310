// Devices and their memory.
#include "api/checks.hpp"
#include "api/cuda_plugin.hpp"
#include "api/guard.hpp"
#include "api/handles.hpp"
#include "api/tensor_list.hpp"
#include "launchers/cpu_device.hpp"
#include "moe4j/moe4j.h"
#include "support/message.hpp"

using moe4j::check_pointer;
using moe4j::check_range;
using moe4j::check_stream;
using moe4j::guarded;
using moe4j::Status;

namespace {

constexpr int32_t kMaxThreads = 4096;

Status check_device(const moe4j_device* device) { return check_pointer("device", device, 1); }

Status check_kind(int32_t kind) { return check_range("kind", kind, MOE4J_CPU, MOE4J_CUDA); }

/** Both directions of a copy ask for the same. */
Status check_copy(const moe4j_device* device, void* destination, const void* source, int64_t bytes,
                  const void* stream) {
  MOE4J_RETURN_IF_ERROR(check_device(device));
  MOE4J_RETURN_IF_ERROR(check_range("bytes", bytes, 0, INT64_MAX));
  MOE4J_RETURN_IF_ERROR(check_stream(device->kind, stream));
  moe4j::TensorList tensors;
  tensors.writes("destination", destination, bytes, 1);
  tensors.reads("source", source, bytes, 1);
  return tensors.check();
}

}  // namespace

int32_t moe4j_device_count(int32_t kind, int32_t* count) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_pointer("count", count, alignof(int32_t)));
    MOE4J_RETURN_IF_ERROR(check_kind(kind));
    if (kind == MOE4J_CUDA) return moe4j::cuda_device_count(count);
    *count = 1;
    return Status::ok();
  });
}

int32_t moe4j_device_open(int32_t kind, int32_t index, int32_t num_threads,
                          const char* max_instruction_set, moe4j_device** device) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_pointer("device", device, alignof(void*)));
    *device = nullptr;
    MOE4J_RETURN_IF_ERROR(check_kind(kind));
    std::unique_ptr<moe4j::Device> impl;
    if (kind == MOE4J_CUDA) {
      MOE4J_RETURN_IF_ERROR(moe4j::open_cuda_device(index, &impl));
    } else {
      MOE4J_RETURN_IF_ERROR(check_range("index", index, 0, 0));
      MOE4J_RETURN_IF_ERROR(check_range("num_threads", num_threads, 0, kMaxThreads));
      MOE4J_RETURN_IF_ERROR(moe4j::open_cpu_device(num_threads, max_instruction_set, &impl));
    }
    *device = new moe4j_device{kind, std::move(impl)};
    return Status::ok();
  });
}

int32_t moe4j_device_close(moe4j_device* device) {
  return guarded([&]() -> Status {
    if (device == nullptr) return Status::ok();
    const moe4j_device_counters live = device->impl->counters();
    if (live.live_layers != 0 || live.live_allocations != 0) {
      return moe4j::invalid_argument(
          "device: found %lld live layers and %lld live allocations (%lld bytes), expected none",
          static_cast<long long>(live.live_layers), static_cast<long long>(live.live_allocations),
          static_cast<long long>(live.live_bytes));
    }
    delete device;
    return Status::ok();
  });
}

int32_t moe4j_device_info_get(const moe4j_device* device, moe4j_device_info* info) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device));
    MOE4J_RETURN_IF_ERROR(check_pointer("info", info, alignof(moe4j_device_info)));
    *info = device->impl->info();
    return Status::ok();
  });
}

int32_t moe4j_device_counters_get(const moe4j_device* device, moe4j_device_counters* counters) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device));
    MOE4J_RETURN_IF_ERROR(check_pointer("counters", counters, alignof(moe4j_device_counters)));
    *counters = device->impl->counters();
    return Status::ok();
  });
}

int32_t moe4j_allocate(moe4j_device* device, int64_t bytes, void** pointer) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_pointer("pointer", pointer, alignof(void*)));
    *pointer = nullptr;
    MOE4J_RETURN_IF_ERROR(check_device(device));
    MOE4J_RETURN_IF_ERROR(check_range("bytes", bytes, 0, INT64_MAX));
    return device->impl->allocate(bytes, pointer);
  });
}

int32_t moe4j_free(moe4j_device* device, void* pointer) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device));
    return pointer == nullptr ? Status::ok() : device->impl->free(pointer);
  });
}

int32_t moe4j_copy_to_device(moe4j_device* device, void* destination, const void* source,
                             int64_t bytes, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_copy(device, destination, source, bytes, stream));
    return device->impl->copy_to_device(destination, source, bytes, stream);
  });
}

int32_t moe4j_copy_to_host(moe4j_device* device, void* destination, const void* source,
                           int64_t bytes, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_copy(device, destination, source, bytes, stream));
    return device->impl->copy_to_host(destination, source, bytes, stream);
  });
}

int32_t moe4j_synchronize(moe4j_device* device, void* stream) {
  return guarded([&]() -> Status {
    MOE4J_RETURN_IF_ERROR(check_device(device));
    MOE4J_RETURN_IF_ERROR(check_stream(device->kind, stream));
    return device->impl->synchronize(stream);
  });
}
