// Device memory with one owner.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <utility>

#include "cuda/relaxed_capture.hpp"
#include "support/message.hpp"
#include "support/status.hpp"

namespace moe4j::cuda {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer() { release(); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  /** Replaces what the buffer held; its device must be current. */
  Status allocate(int64_t bytes) noexcept {
    release();
    if (bytes == 0) return Status::ok();
    const RelaxedCapture relaxed;
    if (cudaMalloc(&data_, static_cast<size_t>(bytes)) != cudaSuccess) {
      cudaGetLastError();
      data_ = nullptr;
      return failure(MOE4J_OUT_OF_MEMORY, "CUDA: no memory for %lld bytes on the device",
                     static_cast<long long>(bytes));
    }
    bytes_ = bytes;
    return Status::ok();
  }

  void release() noexcept {
    if (data_ == nullptr) return;
    const RelaxedCapture relaxed;
    if (cudaFree(data_) != cudaSuccess) cudaGetLastError();  // a lost device, memory and all
    data_ = nullptr;
    bytes_ = 0;
  }

  int64_t bytes() const noexcept { return bytes_; }
  template <class T = uint8_t>
  T* as() const noexcept {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace moe4j::cuda
