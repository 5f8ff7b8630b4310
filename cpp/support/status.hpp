// What a function that can fail answers inside the library. Nothing here throws across a border.
#pragma once

#include <string>
#include <utility>

#include "moe4j/moe4j.h"

namespace moe4j {

/** A moe4j_status with the sentence that explains it. Cheap when it is OK. */
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(moe4j_status code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status ok() { return {}; }

  bool is_ok() const { return code_ == MOE4J_OK; }
  moe4j_status code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  moe4j_status code_ = MOE4J_OK;
  std::string message_;
};

}  // namespace moe4j

/** Returns from the calling function when `expression` is not OK. */
#define MOE4J_RETURN_IF_ERROR(expression)             \
  do {                                                \
    ::moe4j::Status moe4j_status_ = (expression);     \
    if (!moe4j_status_.is_ok()) return moe4j_status_; \
  } while (false)
