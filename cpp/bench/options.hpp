// The command line of moe4j_bench.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/layers.hpp"
#include "bench/routing.hpp"
#include "moe4j/moe4j.h"

namespace moe4j::bench {

struct Options {
  std::vector<LayerCase> layers;
  std::vector<int64_t> tokens = {1, 4, 16, 64, 256};
  moe4j_device_kind device = MOE4J_CPU;
  int32_t device_index = 0;
  int32_t threads = 0;
  std::string max_instruction_set;
  int32_t activation_format = MOE4J_FORMAT_BF16;
  std::string tactic = "default";  // "default", "all" or a name
  Skew skew = Skew::kUniform;
  bool from_logits = false;  // else routing is precomputed
  std::string csv;           // a file to append to; empty for none
  int32_t callers = 0;       // threads whose throughput is timed; 0: launches one by one
  int32_t runs = 10;
  bool only_ceilings = false;
};

/** What --help prints. */
extern const char kUsage[];

/** Throws std::invalid_argument with a sentence about the first wrong argument. */
Options parse_options(int argc, char** argv);

}  // namespace moe4j::bench
