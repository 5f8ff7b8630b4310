// The wall between C++ and C: no exception leaves a C function.
#pragma once

#include <exception>
#include <new>

#include "api/last_error.hpp"
#include "support/message.hpp"

namespace moe4j {

/** Runs the body of a C function, which answers a Status, and reports it. */
template <class Body>
int32_t guarded(Body&& body) noexcept {
  try {
    return report(body());
  } catch (const std::bad_alloc&) {
    return report(Status(MOE4J_OUT_OF_MEMORY, {}));
  } catch (const std::exception& exception) {
    return report(failure(MOE4J_INTERNAL_ERROR, "unexpected exception: %s", exception.what()));
  } catch (...) {
    return report(failure(MOE4J_INTERNAL_ERROR, "unexpected exception"));
  }
}

}  // namespace moe4j
