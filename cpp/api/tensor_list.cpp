#include "api/tensor_list.hpp"

#include <utility>

#include "api/checks.hpp"
#include "support/message.hpp"

namespace moe4j {

void TensorList::reads(const char* name, const void* pointer, int64_t elements,
                       int64_t element_bytes) {
  add(name, pointer, elements, element_bytes, false);
}

void TensorList::writes(const char* name, void* pointer, int64_t elements, int64_t element_bytes) {
  add(name, pointer, elements, element_bytes, true);
}

void TensorList::may_read(const char* name, const void* pointer, int64_t elements,
                          int64_t element_bytes) {
  if (pointer != nullptr) add(name, pointer, elements, element_bytes, false);
}

void TensorList::may_write(const char* name, void* pointer, int64_t elements,
                           int64_t element_bytes) {
  if (pointer != nullptr) add(name, pointer, elements, element_bytes, true);
}

void TensorList::unused(const char* name, const void* pointer, const char* reason) {
  refuse(check_absent(name, pointer, reason));
}

void TensorList::add(const char* name, const void* pointer, int64_t elements, int64_t element_bytes,
                     bool written) {
  if (elements == 0) return;  // whatever the pointer is, nobody follows it
  refuse(check_pointer(name, pointer, element_bytes));
  int64_t bytes = 0;
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  uintptr_t end = 0;
  if (__builtin_mul_overflow(elements, element_bytes, &bytes) ||
      __builtin_add_overflow(begin, static_cast<uintptr_t>(bytes), &end)) {
    refuse(
        invalid_argument("%s: found %lld elements, expected a tensor that fits the address space",
                         name, static_cast<long long>(elements)));
    return;
  }
  ranges_[count_++] = {name, begin, end, written};
}

void TensorList::refuse(Status status) {
  if (refusal_.is_ok()) refusal_ = std::move(status);
}

Status TensorList::check() const noexcept {
  if (!refusal_.is_ok()) return refusal_;
  for (int i = 0; i < count_; ++i) {
    for (int j = 0; j < i; ++j) {
      const Range& a = ranges_[i];
      const Range& b = ranges_[j];
      if ((a.written || b.written) && a.begin < b.end && b.begin < a.end) {
        return invalid_argument("%s: found an overlap with %s, expected memory of its own",
                                a.written ? a.name : b.name, a.written ? b.name : a.name);
      }
    }
  }
  return Status::ok();
}

}  // namespace moe4j
