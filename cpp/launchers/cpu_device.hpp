// The CPU as a device: a pool of worker threads and the kernels of the instruction sets it has.
#pragma once

#include <cstdint>
#include <memory>

#include "launchers/device.hpp"
#include "support/status.hpp"

namespace moe4j {

/**
 * Opens the CPU. `num_threads` bounds the threads that compute at any time, the calling thread
 * included, however many callers share the device; 0 means all processors this process may use.
 * `max_instruction_set` limits what kernels may use: "portable", "avx2", "avx512", "avx512_vnni",
 * "avx512_bf16", "amx_int8" or "amx_bf16"; NULL or "" means the best this CPU has.
 */
Status open_cpu_device(int32_t num_threads, const char* max_instruction_set,
                       std::unique_ptr<Device>* device) noexcept;

}  // namespace moe4j
