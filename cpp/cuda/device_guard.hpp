// Makes a device current for a scope, and puts back what the caller had.
//
// What a thread has is a context of the driver, or none. The runtime calls none device 0, and its
// cudaSetDevice(0) would make a context there: hundreds of MB of a GPU that nobody asked for.
#pragma once

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include "cuda/cuda_status.hpp"

namespace moe4j::cuda {

/** The driver's calls, looked up once: this library loads without a driver. */
struct Driver {
  PFN_cuDevicePrimaryCtxRetain_v7000 retain_primary = nullptr;
  PFN_cuCtxGetCurrent_v4000 get_current = nullptr;
  PFN_cuCtxSetCurrent_v4000 set_current = nullptr;
  cudaError_t error = cudaSuccess;

  static const Driver& get() {
    static const Driver driver;
    return driver;
  }

 private:
  Driver() {
    look_up("cuDevicePrimaryCtxRetain", retain_primary);
    look_up("cuCtxGetCurrent", get_current);
    look_up("cuCtxSetCurrent", set_current);
  }

  template <class Function>
  void look_up(const char* name, Function& function) {
    constexpr unsigned kVersion = 12000;  // of CUDA, whose form of the function it is
    if (error != cudaSuccess) return;
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    error = cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result);
    if (error == cudaSuccess && found == nullptr) error = cudaErrorCallRequiresNewerDriver;
    function = reinterpret_cast<Function>(found);
  }
};

/** The context that the runtime uses on a device. It lives as long as the process. */
inline cudaError_t primary_context(int device, CUcontext* context) {
  const Driver& driver = Driver::get();
  if (driver.error != cudaSuccess) return driver.error;
  // Since CUDA 10.1 the driver and the runtime number errors alike.
  return static_cast<cudaError_t>(driver.retain_primary(context, device));
}

/** Where it fails, the caller's context is still the current one. */
class DeviceGuard {
 public:
  /** `device`: from primary_context(). */
  explicit DeviceGuard(CUcontext device) : driver_(Driver::get()) {
    error_ = static_cast<cudaError_t>(driver_.get_current(&callers_));
    if (error_ != cudaSuccess || callers_ == device) return;
    error_ = static_cast<cudaError_t>(driver_.set_current(device));
    switched_ = error_ == cudaSuccess;
  }
  ~DeviceGuard() {
    if (switched_) driver_.set_current(callers_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

  Status status() const { return cuda_status(error_, "choosing the device"); }

 private:
  const Driver& driver_;
  CUcontext callers_ = nullptr;
  bool switched_ = false;
  cudaError_t error_;
};

}  // namespace moe4j::cuda
