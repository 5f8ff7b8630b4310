// The tensors of one call: their presence, their alignment, and that they don't overlap.
#pragma once

#include <cstdint>

#include "support/status.hpp"

namespace moe4j {

/** A list on the stack of what a call reads and writes. The first refusal sticks. */
class TensorList {
 public:
  /** A tensor of `elements` elements of `element_bytes` that the call needs. */
  void reads(const char* name, const void* pointer, int64_t elements, int64_t element_bytes);
  void writes(const char* name, void* pointer, int64_t elements, int64_t element_bytes);

  /** The same for a tensor that may be NULL. */
  void may_read(const char* name, const void* pointer, int64_t elements, int64_t element_bytes);
  void may_write(const char* name, void* pointer, int64_t elements, int64_t element_bytes);

  /** A tensor that this call has no use for; `reason` continues "expected NULL". */
  void unused(const char* name, const void* pointer, const char* reason);

  /** The first refusal; otherwise whether something written overlaps something else. */
  Status check() const noexcept;

 private:
  struct Range {
    const char* name;
    uintptr_t begin;
    uintptr_t end;
    bool written;
  };

  void add(const char* name, const void* pointer, int64_t elements, int64_t element_bytes,
           bool written);
  void refuse(Status status);

  static constexpr int kCapacity = 24;
  Range ranges_[kCapacity];
  int count_ = 0;
  Status refusal_;
};

}  // namespace moe4j
