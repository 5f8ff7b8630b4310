#include "launchers/cpu_device.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "cpu/router_logits.hpp"
#include "cpu/tactic.hpp"
#include "formats/quantize.hpp"
#include "formats/scale_layout.hpp"
#include "launchers/cpu_layer.hpp"
#include "support/message.hpp"

namespace moe4j {
namespace {

/** Processors that the scheduler lets this process use. */
int32_t available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
}

/** The processor's own name for itself. */
void read_brand(char (&name)[128]) {
  std::snprintf(name, sizeof(name), "CPU");
#if defined(__x86_64__)
  constexpr unsigned kFirstLeaf = 0x80000002u;
  constexpr unsigned kLeaves = 3;
  if (__get_cpuid_max(0x80000000u, nullptr) < kFirstLeaf + kLeaves - 1) return;
  unsigned brand[kLeaves * 4];
  for (unsigned i = 0; i < kLeaves; ++i) {
    unsigned* words = brand + i * 4;
    __get_cpuid(kFirstLeaf + i, &words[0], &words[1], &words[2], &words[3]);
  }
  char text[sizeof(brand) + 1] = {};
  std::memcpy(text, brand, sizeof(brand));
  const char* first = text + std::strspn(text, " ");
  int length = static_cast<int>(std::strlen(first));
  while (length > 0 && first[length - 1] == ' ') --length;
  if (length > 0) std::snprintf(name, sizeof(name), "%.*s", length, first);
#endif
}

/** Null if there is none to be had. Large memory is a workspace as a rule: its rows lie far apart,
 * so it wants huge pages where the system grants them. */
void* allocate_memory(int64_t bytes) noexcept {
  constexpr int64_t kLargest = int64_t{1} << 47;  // the address space
  constexpr int64_t kHugePage = int64_t{2} << 20;
  if (bytes > kLargest) return nullptr;
  const int64_t alignment = bytes < kHugePage ? MOE4J_ALIGNMENT : kHugePage;
  const int64_t rounded = round_up(std::max<int64_t>(1, bytes), alignment);
  void* memory = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(rounded));
#if defined(MADV_HUGEPAGE)
  if (memory != nullptr && alignment == kHugePage) {
    madvise(memory, static_cast<size_t>(rounded), MADV_HUGEPAGE);
  }
#endif
  return memory;
}

class CpuDevice final : public Device {
 public:
  static Status open(int32_t num_threads, const char* max_instruction_set,
                     std::unique_ptr<Device>* device) {
    auto created = std::make_unique<CpuDevice>();
    MOE4J_RETURN_IF_ERROR(best_instruction_set(max_instruction_set, &created->context_.best));
    const int32_t threads = num_threads > 0 ? num_threads : available_processors();
    MOE4J_RETURN_IF_ERROR(ThreadPool::create(threads, &created->context_.pool));
    *device = std::move(created);
    return Status::ok();
  }

  moe4j_device_info info() const noexcept override {
    moe4j_device_info info = {};
    info.kind = MOE4J_CPU;
    info.compute_units = context_.pool->num_threads();
    info.memory_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
    info.last_level_cache_bytes = std::max(sysconf(_SC_LEVEL3_CACHE_SIZE), 0L);
    read_brand(info.name);
    list_instruction_sets(context_.best, info.instruction_sets);
    return info;
  }

  moe4j_device_counters counters() const noexcept override { return context_.counts.read(); }

  Status allocate(int64_t bytes, void** pointer) noexcept override {
    void* memory = allocate_memory(bytes);
    if (memory == nullptr || !allocations_.add(memory, bytes)) {
      std::free(memory);
      return failure(MOE4J_OUT_OF_MEMORY, "bytes: no memory for an allocation of %lld bytes",
                     static_cast<long long>(bytes));
    }
    *pointer = memory;
    return Status::ok();
  }

  Status free(void* pointer) noexcept override {
    MOE4J_RETURN_IF_ERROR(allocations_.remove(pointer));
    std::free(pointer);
    return Status::ok();
  }

  Status copy_to_device(void* destination, const void* source, int64_t bytes,
                        void*) noexcept override {
    if (bytes > 0) std::memcpy(destination, source, static_cast<size_t>(bytes));
    return Status::ok();
  }

  Status copy_to_host(void* destination, const void* source, int64_t bytes,
                      void* stream) noexcept override {
    return copy_to_device(destination, source, bytes, stream);
  }

  Status synchronize(void*) noexcept override { return Status::ok(); }

  Status create_layer(const moe4j_layer_desc& desc,
                      std::unique_ptr<Layer>* layer) noexcept override {
    return CpuLayer::create(desc, context_, layer);
  }

  const char* tactic_name(int32_t tactic) const noexcept override {
    return tactic >= 0 && tactic < kNumCpuTactics ? kCpuTactics[tactic].name : nullptr;
  }

  uint64_t tactic_table_hash() const noexcept override {
    return moe4j::tactic_table_hash(context_.best);
  }

  Status quantize(int32_t format, int64_t rows, int64_t k, int32_t source_dtype, const void* source,
                  float tensor_scale, void* codes, void* scales, void*) noexcept override {
    return moe4j::quantize(format, rows, k, source_dtype, source, tensor_scale,
                           static_cast<uint8_t*>(codes), static_cast<uint8_t*>(scales));
  }

  Status dequantize(int32_t format, int64_t rows, int64_t k, const void* codes, const void* scales,
                    float tensor_scale, float* destination, void*) noexcept override {
    moe4j::dequantize(format, rows, k, static_cast<const uint8_t*>(codes),
                      static_cast<const uint8_t*>(scales), tensor_scale, destination);
    return Status::ok();
  }

  Status swizzle_scales(int64_t rows, int64_t columns, const void* linear, void* swizzled,
                        void*) noexcept override {
    moe4j::swizzle_scales(rows, columns, static_cast<const uint8_t*>(linear),
                          static_cast<uint8_t*>(swizzled));
    return Status::ok();
  }

  Status unswizzle_scales(int64_t rows, int64_t columns, const void* swizzled, void* linear,
                          void*) noexcept override {
    moe4j::unswizzle_scales(rows, columns, static_cast<const uint8_t*>(swizzled),
                            static_cast<uint8_t*>(linear));
    return Status::ok();
  }

  Status router_logits(int64_t tokens, int64_t hidden_size, int64_t num_experts,
                       int32_t hidden_dtype, const void* hidden_states, int32_t weight_dtype,
                       const void* weight, int32_t bias_dtype, const void* bias, float* logits,
                       void*) noexcept override {
    ThreadPool::Lease threads(*context_.pool);
    moe4j::router_logits({tokens, hidden_size, num_experts, hidden_dtype, hidden_states,
                          weight_dtype, weight, bias_dtype, bias, logits},
                         kernels(context_.best), threads);
    return Status::ok();
  }

 private:
  CpuContext context_;
  Allocations allocations_{context_.counts};
};

}  // namespace

Status open_cpu_device(int32_t num_threads, const char* max_instruction_set,
                       std::unique_ptr<Device>* device) noexcept {
  try {
    return CpuDevice::open(num_threads, max_instruction_set, device);
  } catch (const std::bad_alloc&) {
    return Status(MOE4J_OUT_OF_MEMORY, {});
  }
}

}  // namespace moe4j
