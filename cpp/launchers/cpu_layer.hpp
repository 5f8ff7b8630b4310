// A layer on the CPU.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

#include "cpu/instruction_set.hpp"
#include "cpu/prepared_layer.hpp"
#include "launchers/device.hpp"
#include "launchers/device_counts.hpp"
#include "support/thread_pool.hpp"

namespace moe4j {

/** What layers share with their device, which outlives them. */
struct CpuContext {
  std::unique_ptr<ThreadPool> pool;
  InstructionSet best = InstructionSet::kPortable;
  DeviceCounts counts;
};

class CpuLayer final : public Layer {
 public:
  static Status create(const moe4j_layer_desc& desc, CpuContext& context,
                       std::unique_ptr<Layer>* layer) noexcept;
  ~CpuLayer() override;

  const moe4j_layer_desc& desc() const noexcept override { return desc_; }
  bool sealed() const noexcept override { return sealed_.load(std::memory_order_acquire); }

  Status set_expert(int32_t local_expert, const moe4j_expert_weights& weights) noexcept override;
  Status seal() noexcept override;
  int64_t prepared_bytes() const noexcept override { return prepared_.bytes(); }

  int32_t tactics(int64_t tokens, int32_t* ids, int32_t capacity) const noexcept override;
  Status workspace_bytes(int32_t tactic, int64_t tokens, int64_t* bytes) const noexcept override;
  Status launch(const moe4j_launch_args& args) const noexcept override;

 private:
  CpuLayer(const moe4j_layer_desc& desc, CpuContext& context) noexcept;

  const moe4j_layer_desc desc_;
  CpuContext& context_;
  PreparedLayer prepared_;
  std::unique_ptr<std::atomic<bool>[]> expert_is_set_;
  std::atomic<bool> sealed_{false};
};

}  // namespace moe4j
