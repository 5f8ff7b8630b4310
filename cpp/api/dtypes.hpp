// Names and sizes of element types, for checks and their messages.
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"

namespace moe4j {

/** The name without its prefix; "unknown" for a number that is none. */
constexpr const char* dtype_name(int32_t dtype) noexcept {
  switch (dtype) {
    case MOE4J_F32:
      return "F32";
    case MOE4J_BF16:
      return "BF16";
    case MOE4J_I32:
      return "I32";
    case MOE4J_I16:
      return "I16";
    case MOE4J_U8:
      return "U8";
    case MOE4J_E4M3:
      return "E4M3";
    case MOE4J_UE8M0:
      return "UE8M0";
    case MOE4J_E2M1X2:
      return "E2M1X2";
    default:
      return "unknown";
  }
}

/** Bytes of an element of a tensor that is F32 or BF16. */
constexpr int64_t float_bytes(int32_t dtype) noexcept { return dtype == MOE4J_F32 ? 4 : 2; }

}  // namespace moe4j
