// Large memory for weights: whole pages from the system, on huge pages where it grants them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace moe4j {

/** Owns a mapping of zeroed memory; empty if there was none to be had. */
class Pages {
 public:
  explicit Pages(int64_t bytes) noexcept : bytes_(static_cast<size_t>(bytes)) {
    void* mapped =
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return;
    data_ = static_cast<uint8_t*>(mapped);
#if defined(MADV_HUGEPAGE)
    madvise(mapped, bytes_, MADV_HUGEPAGE);  // a wish: weights stream through few TLB entries
#endif
  }
  ~Pages() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  /** Null if the system had no memory. */
  uint8_t* data() const noexcept { return data_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_;
};

}  // namespace moe4j
