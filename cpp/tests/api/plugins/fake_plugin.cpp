// A stand-in for libmoe4j_cuda.so, built in several variants: it has FAKE_DEVICES devices that hold
// memory and nothing else.
#include <cstdlib>
#include <cstring>
#include <map>

#include "launchers/plugin.hpp"

namespace moe4j {
namespace {

class FakeDevice final : public Device {
 public:
  explicit FakeDevice(int32_t index) : index_(index) {}

  moe4j_device_info info() const noexcept override {
    moe4j_device_info info{};
    info.kind = MOE4J_CUDA;
    info.index = index_;
    std::strcpy(info.name, "fake");
    return info;
  }
  moe4j_device_counters counters() const noexcept override {
    moe4j_device_counters counters{};
    counters.live_allocations = live_;
    return counters;
  }
  Status allocate(int64_t bytes, void** pointer) noexcept override {
    *pointer = std::malloc(static_cast<size_t>(bytes) + 1);
    ++live_;
    return Status::ok();
  }
  Status free(void* pointer) noexcept override {
    std::free(pointer);
    --live_;
    return Status::ok();
  }
  Status copy_to_device(void* destination, const void* source, int64_t bytes,
                        void*) noexcept override {
    std::memcpy(destination, source, static_cast<size_t>(bytes));
    return Status::ok();
  }
  Status copy_to_host(void* destination, const void* source, int64_t bytes,
                      void*) noexcept override {
    std::memcpy(destination, source, static_cast<size_t>(bytes));
    return Status::ok();
  }
  Status synchronize(void*) noexcept override {
    return {MOE4J_DEVICE_ERROR, "fake: a launch failed"};
  }
  Status create_layer(const moe4j_layer_desc&, std::unique_ptr<Layer>*) noexcept override {
    return {MOE4J_UNSUPPORTED, "fake: no layers"};
  }
  const char* tactic_name(int32_t) const noexcept override { return nullptr; }
  uint64_t tactic_table_hash() const noexcept override { return 42; }
  Status quantize(int32_t, int64_t, int64_t, int32_t, const void*, float, void*, void*,
                  void*) noexcept override {
    return Status::ok();
  }
  Status dequantize(int32_t, int64_t, int64_t, const void*, const void*, float, float*,
                    void*) noexcept override {
    return Status::ok();
  }
  Status swizzle_scales(int64_t, int64_t, const void*, void*, void*) noexcept override {
    return Status::ok();
  }
  Status unswizzle_scales(int64_t, int64_t, const void*, void*, void*) noexcept override {
    return Status::ok();
  }
  Status router_logits(int64_t, int64_t, int64_t, int32_t, const void*, int32_t, const void*,
                       int32_t, const void*, float*, void*) noexcept override {
    return Status::ok();
  }

 private:
  int32_t index_;
  int64_t live_ = 0;
};

Status count(int32_t* devices) noexcept {
  *devices = FAKE_DEVICES;
  if (FAKE_DEVICES == 0) return {MOE4J_OK, "CUDA: found no driver"};
  return Status::ok();
}

Status open(int32_t index, std::unique_ptr<Device>* device) noexcept {
  *device = std::make_unique<FakeDevice>(index);
  return Status::ok();
}

constexpr DevicePlugin kPlugin = {FAKE_ABI_VERSION, count, open};

}  // namespace
}  // namespace moe4j

extern "C" __attribute__((visibility("default"))) const moe4j::DevicePlugin* FAKE_SYMBOL() {
  return &moe4j::kPlugin;
}
