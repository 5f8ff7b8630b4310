// The border between the C ABI (api/) and the devices: one implementation for the CPU, one for
// CUDA.
//
// api/ has checked everything that can be checked without reading tensors (null pointers, sizes,
// enum values, combinations) before it calls anything here; a device checks contents, where it can.
// Implementations never throw: a failure is a Status. The CUDA implementation lives in a shared
// library of its own (see plugin.hpp), so this interface is also a binary border: both libraries
// are built together, and the ABI version is compared when the plugin is loaded.
#pragma once

#include <cstdint>
#include <memory>

#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

/** A layer on one device: `moe4j_layer` of the C ABI. */
class Layer {
 public:
  virtual ~Layer() = default;

  virtual const moe4j_layer_desc& desc() const noexcept = 0;
  virtual bool sealed() const noexcept = 0;

  virtual Status set_expert(int32_t local_expert, const moe4j_expert_weights& weights) noexcept = 0;
  virtual Status seal() noexcept = 0;
  virtual int64_t prepared_bytes() const noexcept = 0;

  /** Tactics valid at this token count, the default first; writes at most `capacity` ids. */
  virtual int32_t tactics(int64_t tokens, int32_t* ids, int32_t capacity) const noexcept = 0;
  virtual Status workspace_bytes(int32_t tactic, int64_t tokens, int64_t* bytes) const noexcept = 0;
  /** Of one token or more. */
  virtual Status launch(const moe4j_launch_args& args) const noexcept = 0;
};

/** An opened device: `moe4j_device` of the C ABI. */
class Device {
 public:
  virtual ~Device() = default;

  virtual moe4j_device_info info() const noexcept = 0;
  virtual moe4j_device_counters counters() const noexcept = 0;

  virtual Status allocate(int64_t bytes, void** pointer) noexcept = 0;
  virtual Status free(void* pointer) noexcept = 0;
  virtual Status copy_to_device(void* destination, const void* source, int64_t bytes,
                                void* stream) noexcept = 0;
  virtual Status copy_to_host(void* destination, const void* source, int64_t bytes,
                              void* stream) noexcept = 0;
  virtual Status synchronize(void* stream) noexcept = 0;

  /** `layer` must be destroyed before the device. */
  virtual Status create_layer(const moe4j_layer_desc& desc,
                              std::unique_ptr<Layer>* layer) noexcept = 0;

  virtual const char* tactic_name(int32_t tactic) const noexcept = 0;
  virtual uint64_t tactic_table_hash() const noexcept = 0;

  virtual Status quantize(int32_t format, int64_t rows, int64_t k, int32_t source_dtype,
                          const void* source, float tensor_scale, void* codes, void* scales,
                          void* stream) noexcept = 0;
  virtual Status dequantize(int32_t format, int64_t rows, int64_t k, const void* codes,
                            const void* scales, float tensor_scale, float* destination,
                            void* stream) noexcept = 0;
  virtual Status swizzle_scales(int64_t rows, int64_t columns, const void* linear, void* swizzled,
                                void* stream) noexcept = 0;
  virtual Status unswizzle_scales(int64_t rows, int64_t columns, const void* swizzled, void* linear,
                                  void* stream) noexcept = 0;
  virtual Status router_logits(int64_t tokens, int64_t hidden_size, int64_t num_experts,
                               int32_t hidden_dtype, const void* hidden_states,
                               int32_t weight_dtype, const void* weight, int32_t bias_dtype,
                               const void* bias, float* logits, void* stream) noexcept = 0;
};

}  // namespace moe4j
