// What the machine could do at best, measured in the run that needs it.
#pragma once

#include <cstdint>

namespace moe4j::bench {

struct Ceilings {
  double read_bytes_per_second;
  double bf16_flops_per_second;  // the fastest multiply-add of BF16 or F32 operands there is
  const char* multiplier;        // which one
};

/** Of the CPU with some threads, best of several short runs. */
Ceilings measure_cpu_ceilings(int32_t threads);

}  // namespace moe4j::bench
