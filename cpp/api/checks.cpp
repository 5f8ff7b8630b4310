#include "api/checks.hpp"

#include <cmath>

#include "api/dtypes.hpp"
#include "formats/block_format.hpp"
#include "support/message.hpp"

namespace moe4j {

Status check_pointer(const char* name, const void* pointer, int64_t alignment) noexcept {
  if (pointer == nullptr) return invalid_argument("%s: found NULL, expected a pointer", name);
  if (reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(alignment) != 0) {
    return invalid_argument("%s: found address %p, expected a multiple of %lld", name, pointer,
                            static_cast<long long>(alignment));
  }
  return Status::ok();
}

Status check_absent(const char* name, const void* pointer, const char* reason) noexcept {
  if (pointer == nullptr) return Status::ok();
  return invalid_argument("%s: found a pointer, expected NULL %s", name, reason);
}

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) noexcept {
  if (low <= value && value <= high) return Status::ok();
  return invalid_argument("%s: found %lld, expected %lld <= %s <= %lld", name,
                          static_cast<long long>(value), static_cast<long long>(low), name,
                          static_cast<long long>(high));
}

Status check_float_dtype(const char* name, int32_t dtype) noexcept {
  if (dtype == MOE4J_F32 || dtype == MOE4J_BF16) return Status::ok();
  return invalid_argument("%s: found %d (%s), expected F32 or BF16", name, dtype,
                          dtype_name(dtype));
}

Status check_block_format(const char* name, int32_t format) noexcept {
  if (is_format(format) && block_format(format).has_scales) return Status::ok();
  return invalid_argument("%s: found %d (%s), expected NVFP4, MXFP4 or MXFP8", name, format,
                          is_format(format) ? block_format(format).name : "unknown");
}

Status check_tensor_scale(const char* name, int32_t format, float tensor_scale) noexcept {
  const BlockFormat known = block_format(format);
  if (known.has_tensor_scale ? std::isfinite(tensor_scale) && tensor_scale > 0
                             : tensor_scale == 1) {
    return Status::ok();
  }
  return invalid_argument("%s: found %g, expected %s for %s", name,
                          static_cast<double>(tensor_scale),
                          known.has_tensor_scale ? "a finite positive number" : "1", known.name);
}

Status check_size(const char* name, std::initializer_list<int64_t> factors) noexcept {
  int64_t bytes = 1;
  for (const int64_t factor : factors) {
    if (__builtin_mul_overflow(bytes, factor, &bytes)) {
      return invalid_argument("%s: found more bytes than an int64 can count", name);
    }
  }
  return Status::ok();
}

Status check_stream(int32_t device_kind, const void* stream) noexcept {
  if (device_kind != MOE4J_CPU) return Status::ok();
  return check_absent("stream", stream, "on a CPU device");
}

}  // namespace moe4j
