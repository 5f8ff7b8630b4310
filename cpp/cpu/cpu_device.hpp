// How the C ABI opens the CPU device.
#pragma once

#include <cstdint>
#include <memory>

#include "launchers/device.hpp"
#include "support/status.hpp"

namespace moe4j {

/**
 * Opens the CPU. `num_threads` bounds the workers, the calling thread included; 0 means all
 * processors this process may use. `max_instruction_set` limits what is used ("portable", "avx2",
 * ...); NULL or "" for the best there is; an unknown name is refused.
 */
Status open_cpu_device(int32_t num_threads, const char* max_instruction_set,
                       std::unique_ptr<Device>* device) noexcept;

}  // namespace moe4j
