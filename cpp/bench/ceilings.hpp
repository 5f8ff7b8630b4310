// What the machine could do at best, measured in the run that needs it.
#pragma once

#include <string>
#include <vector>

#include "moe4j/moe4j.h"

namespace moe4j::bench {

/** Multiply-adds of one instruction set. */
struct MultiplyRate {
  std::string name;
  bool int8;  // of INT8 activations; otherwise of BF16 or F32 ones
  double operations_per_second;
};

struct Ceilings {
  double read_bytes_per_second;
  std::vector<MultiplyRate> multipliers;

  /** The fastest for activations of a kind; {"none", 0} if nothing is known. */
  MultiplyRate best(bool int8) const {
    MultiplyRate best = {"none", int8, 0};
    for (const MultiplyRate& rate : multipliers) {
      if (rate.int8 == int8 && rate.operations_per_second > best.operations_per_second) best = rate;
    }
    return best;
  }
};

/** Of the CPU with some threads and instruction sets (moe4j_device_info), best of several runs. */
Ceilings measure_cpu_ceilings(const moe4j_device_info& info);

}  // namespace moe4j::bench
