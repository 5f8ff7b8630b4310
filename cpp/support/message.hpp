// The sentences of errors: "topk_ids: found 99 at [3, 1], expected 0 <= id < 32".
#pragma once

#include "support/status.hpp"

namespace moe4j {

/**
 * A Status whose message is written by printf's rules. The message names the argument first, then
 * what was found and what was expected. Where there is no memory for it, the code goes without.
 */
[[gnu::format(printf, 1, 2)]] Status invalid_argument(const char* format, ...) noexcept;
[[gnu::format(printf, 2, 3)]] Status failure(moe4j_status code, const char* format, ...) noexcept;

}  // namespace moe4j
