// moe4j for C++17: ownership and exceptions over moe4j.h, and nothing else. Header-only.
//
// A Device is a shared handle: the Buffers and Layers made from it keep it open. Buffers and Layers
// own what they stand for and can be moved, not copied. Pointers passed to or taken from them are
// borrowed. Every failure is an Error with the C library's message.
#ifndef MOE4J_MOE4J_HPP_
#define MOE4J_MOE4J_HPP_

#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "moe4j/moe4j.h"

namespace moe4j {
inline namespace cpp_api {

/** A failed call: what() is moe4j_last_error()'s sentence. */
class Error : public std::runtime_error {
 public:
  Error(int32_t status, const char* message)
      : std::runtime_error(message), status_(static_cast<moe4j_status>(status)) {}

  moe4j_status status() const noexcept { return status_; }

 private:
  moe4j_status status_;
};

/** The one place that throws. */
inline void throw_on_error(int32_t status) {
  if (status != MOE4J_OK) throw Error(status, moe4j_last_error());
}

/** An opened device, shared by its copies and by everything made from it. */
class Device {
 public:
  /** The CPU; see moe4j_device_open() for the parameters. */
  static Device cpu(int32_t num_threads = 0, const char* max_instruction_set = nullptr) {
    return open(MOE4J_CPU, 0, num_threads, max_instruction_set);
  }

  /** A CUDA device. Never falls back to another one. */
  static Device cuda(int32_t index = 0) { return open(MOE4J_CUDA, index, 0, nullptr); }

  static int32_t count(moe4j_device_kind kind) {
    int32_t count = 0;
    throw_on_error(moe4j_device_count(kind, &count));
    return count;
  }

  moe4j_device_info info() const {
    moe4j_device_info info;
    throw_on_error(moe4j_device_info_get(get(), &info));
    return info;
  }

  moe4j_device_counters counters() const {
    moe4j_device_counters counters;
    throw_on_error(moe4j_device_counters_get(get(), &counters));
    return counters;
  }

  /** The stable name of a tactic of Layer::tactics(). */
  std::string tactic_name(int32_t tactic) const {
    const char* name = moe4j_tactic_name(get(), tactic);
    throw_on_error(name == nullptr ? MOE4J_INVALID_ARGUMENT : MOE4J_OK);
    return name;
  }

  void synchronize(void* stream = nullptr) const {
    throw_on_error(moe4j_synchronize(get(), stream));
  }

  /** Borrowed: for the functions of moe4j.h that have no method here. */
  moe4j_device* get() const noexcept { return handle_.get(); }

 private:
  explicit Device(moe4j_device* handle) : handle_(handle, moe4j_device_close) {}

  static Device open(moe4j_device_kind kind, int32_t index, int32_t num_threads,
                     const char* max_instruction_set) {
    moe4j_device* handle = nullptr;
    throw_on_error(moe4j_device_open(kind, index, num_threads, max_instruction_set, &handle));
    return Device(handle);
  }

  std::shared_ptr<moe4j_device> handle_;
};

/** Owned memory of a device. */
class Buffer {
 public:
  /** Uninitialized. */
  Buffer(const Device& device, int64_t bytes) : bytes_(bytes), data_(nullptr, Free{device}) {
    void* data = nullptr;
    throw_on_error(moe4j_allocate(device.get(), bytes, &data));
    data_.reset(data);
  }

  /** A copy of `count` elements of host memory. */
  template <class T>
  Buffer(const Device& device, const T* source, int64_t count)
      : Buffer(device, count * static_cast<int64_t>(sizeof(T))) {
    throw_on_error(moe4j_copy_to_device(device.get(), data(), source, bytes_, nullptr));
  }

  /** Copies the first `count` elements to host memory and waits until they are there. */
  template <class T>
  void copy_to_host(T* destination, int64_t count, void* stream = nullptr) const {
    throw_on_error(moe4j_copy_to_host(data_.get_deleter().device.get(), destination, data(),
                                      count * static_cast<int64_t>(sizeof(T)), stream));
  }

  /** Borrowed: valid while the buffer lives. */
  void* data() const noexcept { return data_.get(); }
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data());
  }

  int64_t bytes() const noexcept { return bytes_; }

 private:
  struct Free {
    Device device;
    void operator()(void* data) const noexcept { moe4j_free(device.get(), data); }
  };

  int64_t bytes_;
  std::unique_ptr<void, Free> data_;
};

/** A layer: set every expert, seal it, launch it. */
class Layer {
 public:
  Layer(const Device& device, const moe4j_layer_desc& desc) : device_(device) {
    moe4j_layer* handle = nullptr;
    throw_on_error(moe4j_layer_create(device.get(), &desc, &handle));
    handle_.reset(handle);
  }

  /** Repacks the weights; they are not needed afterwards. */
  void set_expert(int32_t local_expert, const moe4j_expert_weights& weights) {
    throw_on_error(moe4j_layer_set_expert(get(), local_expert, &weights));
  }

  void seal() { throw_on_error(moe4j_layer_seal(get())); }

  /** Ids of the tactics for this token count, the default first. */
  std::vector<int32_t> tactics(int64_t tokens) const {
    int32_t count = 0;
    throw_on_error(moe4j_layer_tactics(get(), tokens, nullptr, 0, &count));
    std::vector<int32_t> ids(static_cast<size_t>(count));
    throw_on_error(moe4j_layer_tactics(get(), tokens, ids.data(), count, &count));
    return ids;
  }

  int64_t workspace_bytes(int32_t tactic, int64_t tokens) const {
    int64_t bytes = 0;
    throw_on_error(moe4j_workspace_bytes(get(), tactic, tokens, &bytes));
    return bytes;
  }

  int64_t prepared_bytes() const {
    int64_t bytes = 0;
    throw_on_error(moe4j_layer_bytes(get(), &bytes));
    return bytes;
  }

  void launch(const moe4j_launch_args& args) const { throw_on_error(moe4j_launch(get(), &args)); }

  /** Borrowed: for the functions of moe4j.h that have no method here. */
  moe4j_layer* get() const noexcept { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(moe4j_layer* layer) const noexcept { moe4j_layer_destroy(layer); }
  };

  Device device_;  // outlives the handle: members die in reverse order
  std::unique_ptr<moe4j_layer, Destroy> handle_;
};

/** A description with every field that has a neutral value at it; formats BF16, no expert yet. */
inline moe4j_layer_desc default_layer_desc() {
  moe4j_layer_desc desc{};
  desc.routing_method = MOE4J_ROUTING_RENORMALIZE;
  desc.norm_topk_prob = 1;
  desc.routed_scaling_factor = 1;
  return desc;
}

/** Weights with neutral scales and activation parameters, still without matrices. SiTU users set
 *  beta to 1. */
inline moe4j_expert_weights default_expert_weights() {
  moe4j_expert_weights weights{};
  weights.gate.tensor_scale = weights.up.tensor_scale = weights.down.tensor_scale = 1;
  weights.gate.bias_stride = weights.up.bias_stride = weights.down.bias_stride = 1;
  weights.input_scale = weights.intermediate_scale = 1;
  weights.alpha = 1;
  weights.limit = std::numeric_limits<float>::infinity();
  return weights;
}

/** Arguments of a launch over BF16 hidden states to a BF16 output, still without tensors. */
inline moe4j_launch_args default_launch_args(int64_t tokens) {
  moe4j_launch_args args{};
  args.tokens = tokens;
  args.hidden_states_format = MOE4J_FORMAT_BF16;
  args.hidden_states_tensor_scale = 1;
  args.output_dtype = MOE4J_BF16;
  args.do_finalize = 1;
  return args;
}

}  // namespace cpp_api
}  // namespace moe4j

#endif  // MOE4J_MOE4J_HPP_
