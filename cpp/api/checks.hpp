// The vocabulary of argument checks. Each answers OK or a message that names the argument, what was
// found and what was expected.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "support/status.hpp"

namespace moe4j {

/** Refuses NULL and addresses that are no multiple of `alignment`, the size of an element. */
Status check_pointer(const char* name, const void* pointer, int64_t alignment) noexcept;

/** Refuses a pointer that nothing would read or write; `reason` continues "expected NULL". */
Status check_absent(const char* name, const void* pointer, const char* reason) noexcept;

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) noexcept;

/** Refuses what is neither F32 nor BF16. */
Status check_float_dtype(const char* name, int32_t dtype) noexcept;

/** Refuses a format without block scales. */
Status check_block_format(const char* name, int32_t format) noexcept;

/** Where the format has a tensor scale, refuses one that is not finite and positive; elsewhere, one
 *  that is not 1. */
Status check_tensor_scale(const char* name, int32_t format, float tensor_scale) noexcept;

/** Refuses tensors whose size in bytes, the product, does not fit an int64. */
Status check_size(const char* name, std::initializer_list<int64_t> factors) noexcept;

/** Refuses a stream on a CPU device. */
Status check_stream(int32_t device_kind, const void* stream) noexcept;

}  // namespace moe4j
