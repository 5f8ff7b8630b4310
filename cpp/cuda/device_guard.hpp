// Makes a device current for a scope, and puts the caller's choice back.
#pragma once

#include <cuda_runtime_api.h>

namespace moe4j::cuda {

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    error_ = cudaGetDevice(&previous_);
    switched_ = error_ == cudaSuccess && previous_ != device;
    if (switched_) error_ = cudaSetDevice(device);
  }
  ~DeviceGuard() {
    if (switched_) cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

  cudaError_t error() const { return error_; }

 private:
  int previous_ = 0;
  bool switched_ = false;
  cudaError_t error_;
};

}  // namespace moe4j::cuda
