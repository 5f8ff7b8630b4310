#include "support/message.hpp"

#include <cstdarg>
#include <cstdio>
#include <new>

namespace moe4j {
namespace {

constexpr int kMaxMessage = 1024;

Status format_status(moe4j_status code, const char* format, va_list arguments) noexcept {
  char text[kMaxMessage];
  std::vsnprintf(text, sizeof(text), format, arguments);
  try {
    return {code, text};
  } catch (const std::bad_alloc&) {
    return {code, {}};
  }
}

}  // namespace

Status invalid_argument(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  Status status = format_status(MOE4J_INVALID_ARGUMENT, format, arguments);
  va_end(arguments);
  return status;
}

Status failure(moe4j_status code, const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  Status status = format_status(code, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace moe4j
