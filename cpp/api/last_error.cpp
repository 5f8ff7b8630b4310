#include "api/last_error.hpp"

#include <cstdio>

namespace moe4j {
namespace {

// An array rather than a string: keeping a message allocates nothing and needs no destructor when
// the thread, or the library, goes away.
thread_local char message[1024] = "";

const char* describe(moe4j_status code) {
  switch (code) {
    case MOE4J_OUT_OF_MEMORY:
      return "out of memory";
    case MOE4J_INTERNAL_ERROR:
      return "internal error";
    default:
      return "no message: out of memory while describing an error";
  }
}

}  // namespace

int32_t report(const Status& status) noexcept {
  if (!status.message().empty()) {
    std::snprintf(message, sizeof(message), "%s", status.message().c_str());
  } else if (!status.is_ok()) {
    std::snprintf(message, sizeof(message), "%s", describe(status.code()));
  }
  return status.code();
}

const char* last_error() noexcept { return message; }

}  // namespace moe4j
