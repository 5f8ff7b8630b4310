// What a moe4j_format is made of. The one place to look at, and to extend, for a new format.
#pragma once

#include <cstdint>

#include "formats/e2m1.hpp"
#include "formats/e4m3.hpp"
#include "moe4j/moe4j.h"
#include "support/host_device.hpp"

namespace moe4j {

/** A matrix [rows, K] of codes and a matrix [rows, K / block] of scales, both row-major. */
struct BlockFormat {
  const char* name;
  moe4j_dtype code_dtype;
  moe4j_dtype scale_dtype;  // of block scales; meaningless where has_scales is false
  int32_t block;            // elements along K that share a scale
  int32_t code_bits;        // of one element
  float max_code;           // the largest magnitude of a code
  bool has_scales;          // block scales that a caller sees
  bool has_tensor_scale;
  bool has_token_scale;  // one for each row, made where the row is quantized

  /** Bytes of one row of codes; K is a multiple of the block. */
  MOE4J_HOST_DEVICE constexpr int64_t code_bytes(int64_t k) const { return k * code_bits / 8; }

  /** Block scales of one row, a byte each. */
  MOE4J_HOST_DEVICE constexpr int64_t scale_bytes(int64_t k) const {
    return has_scales ? k / block : 0;
  }
};

MOE4J_HOST_DEVICE constexpr bool is_format(int32_t format) {
  return format >= MOE4J_FORMAT_BF16 && format <= MOE4J_FORMAT_INT8;
}

/** `format` must be one: ask is_format() about what comes from outside. */
MOE4J_HOST_DEVICE constexpr BlockFormat block_format(int32_t format) {
  switch (format) {
    case MOE4J_FORMAT_NVFP4:
      return {"NVFP4", MOE4J_E2M1X2, MOE4J_E4M3, 16, 4, kE2m1Max, true, true, false};
    case MOE4J_FORMAT_MXFP4:
      return {"MXFP4", MOE4J_E2M1X2, MOE4J_UE8M0, 32, 4, kE2m1Max, true, false, false};
    case MOE4J_FORMAT_MXFP8:
      return {"MXFP8", MOE4J_E4M3, MOE4J_UE8M0, 32, 8, kE4m3Max, true, false, false};
    case MOE4J_FORMAT_FP8_PER_TOKEN:
      return {"FP8_PER_TOKEN", MOE4J_E4M3, MOE4J_UE8M0, 1, 8, kE4m3Max, false, false, true};
    case MOE4J_FORMAT_INT8:
      return {"INT8", MOE4J_U8, MOE4J_F32, 32, 8, 127, false, false, false};
    default:
      return {"BF16", MOE4J_BF16, MOE4J_U8, 1, 16, 0x1.FEp127f, false, false, false};
  }
}

}  // namespace moe4j
