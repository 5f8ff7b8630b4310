// Calls that a capture forbids, though they have nothing to do with it.
#pragma once

#include <cuda_runtime_api.h>

namespace moe4j::cuda {

/**
 * Lets this thread allocate, free, wait and make graphs while a stream is being captured, by this
 * thread or by another. Without it such a call fails, and spoils the capture.
 */
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace moe4j::cuda
