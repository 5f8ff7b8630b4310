// What moe4j_last_error() answers: one sentence a thread.
#pragma once

#include <cstdint>

#include "support/status.hpp"

namespace moe4j {

/**
 * Turns what the library's inside answers into what its C functions return, and keeps the message
 * for this thread. A status without a message leaves the last one in place.
 */
int32_t report(const Status& status) noexcept;

const char* last_error() noexcept;

}  // namespace moe4j
