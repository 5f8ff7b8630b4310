// What every device keeps about its callers: moe4j_device_counters, and who has which memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <unordered_map>

#include "moe4j/moe4j.h"
#include "support/message.hpp"
#include "support/status.hpp"

namespace moe4j {

struct DeviceCounts {
  std::atomic<int64_t> live_bytes{0};
  std::atomic<int64_t> live_allocations{0};
  std::atomic<int64_t> live_layers{0};
  std::atomic<int64_t> launches{0};
  std::atomic<int64_t> routing_launches{0};

  void count_launch(const moe4j_launch_args& args) noexcept {
    launches.fetch_add(1, std::memory_order_relaxed);
    if (args.routing_mode == MOE4J_FROM_LOGITS) {
      routing_launches.fetch_add(1, std::memory_order_relaxed);
    }
  }

  moe4j_device_counters read() const noexcept {
    return {live_bytes.load(), live_allocations.load(), live_layers.load(), launches.load(),
            routing_launches.load()};
  }
};

/** The allocations of a device that its callers have not freed. Thread-safe. */
class Allocations {
 public:
  explicit Allocations(DeviceCounts& counts) : counts_(counts) {}

  /** False if there is no host memory to remember it in. */
  bool add(void* memory, int64_t bytes) noexcept {
    try {
      const std::lock_guard<std::mutex> lock(mutex_);
      bytes_of_.emplace(memory, bytes);
    } catch (const std::bad_alloc&) {
      return false;
    }
    counts_.live_bytes += bytes;
    ++counts_.live_allocations;
    return true;
  }

  /** Before the memory is freed. Refuses what is none of them. */
  Status remove(void* memory) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = bytes_of_.find(memory);
    if (found == bytes_of_.end()) {
      return invalid_argument(
          "pointer: found %p, expected one that moe4j_allocate() of this device gave and that is "
          "not yet freed",
          memory);
    }
    counts_.live_bytes -= found->second;
    --counts_.live_allocations;
    bytes_of_.erase(found);
    return Status::ok();
  }

 private:
  DeviceCounts& counts_;
  std::mutex mutex_;
  std::unordered_map<void*, int64_t> bytes_of_;
};

}  // namespace moe4j
