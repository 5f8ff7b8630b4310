#include "cpu/tactic.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace moe4j {
namespace {

moe4j_layer_desc layer(int32_t activation_format) {
  moe4j_layer_desc desc = {};
  desc.weight_format = MOE4J_FORMAT_MXFP4;
  desc.activation_format = activation_format;
  desc.num_experts = 32;
  desc.top_k = 4;
  return desc;
}

std::vector<int32_t> offered(int64_t tokens, InstructionSet best,
                             int32_t activation_format = MOE4J_FORMAT_BF16) {
  std::vector<int32_t> ids(kNumCpuTactics);
  ids.resize(static_cast<size_t>(
      tactics_for(layer(activation_format), tokens, best, ids.data(), kNumCpuTactics)));
  return ids;
}

TEST(CpuTactics, NamesAreUniqueAndSayWhatTheTacticIs) {
  std::set<std::string> names;
  for (const CpuTactic& tactic : kCpuTactics) {
    EXPECT_TRUE(names.insert(tactic.name).second) << tactic.name;
    EXPECT_EQ(tactic.name, std::string("cpu.") + name(tactic.instruction_set) +
                               (tactic.activations == Activations::kInt8 ? ".int8" : "") + ".t" +
                               std::to_string(tactic.tile_tokens) + ".r" +
                               std::to_string(tactic.row_tile));
  }
}

TEST(CpuTactics, AlwaysOfferSomethingAndTheBestInstructionSetFirst) {
  for (const InstructionSet best :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512,
        InstructionSet::kAvx512Bf16, InstructionSet::kAmxBf16}) {
    if (!is_supported(best)) continue;
    for (const int64_t tokens : {0, 1, 2, 3, 4, 7, 8, 100, 100000}) {
      const std::vector<int32_t> ids = offered(tokens, best);
      ASSERT_FALSE(ids.empty());
      const InstructionSet first = kCpuTactics[ids[0]].instruction_set;
      if (best <= InstructionSet::kAvx512) {
        EXPECT_EQ(first, best);
      }
      if (best == InstructionSet::kAmxBf16) {
        EXPECT_EQ(first, tokens < 48 ? InstructionSet::kAvx512Bf16 : InstructionSet::kAmxBf16);
        const int32_t int8 = offered(tokens, best, MOE4J_FORMAT_INT8)[0];
        EXPECT_EQ(kCpuTactics[int8].instruction_set,
                  tokens < 192 ? InstructionSet::kAvx512Vnni : InstructionSet::kAmxInt8);
      }
      for (const int32_t id : ids) EXPECT_LE(kCpuTactics[id].instruction_set, best);
    }
  }
}

TEST(CpuTactics, EveryOneHasKernelsForAllWeightsThatItMayMeet) {
  for (const CpuTactic& tactic : kCpuTactics) {
    for (const int32_t format : {MOE4J_FORMAT_BF16, MOE4J_FORMAT_NVFP4, MOE4J_FORMAT_MXFP4}) {
      if (tactic.activations == Activations::kInt8 && format == MOE4J_FORMAT_BF16) continue;
      EXPECT_NE(tactic.products().multiply[format], nullptr) << tactic.name;
    }
  }
}

TEST(CpuTactics, EveryProcessorHasInt8TacticsAndOnlyThoseForInt8) {
  for (const InstructionSet best :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512,
        InstructionSet::kAvx512Vnni, InstructionSet::kAvx512Bf16, InstructionSet::kAmxInt8,
        InstructionSet::kAmxBf16}) {
    if (!is_supported(best)) continue;
    const std::vector<int32_t> ids = offered(7, best, MOE4J_FORMAT_INT8);
    ASSERT_FALSE(ids.empty());
    for (const int32_t id : ids) EXPECT_EQ(kCpuTactics[id].activations, Activations::kInt8);
    for (const int32_t id : offered(7, best, MOE4J_FORMAT_MXFP8)) {
      EXPECT_EQ(kCpuTactics[id].activations, Activations::kExact);
    }
  }
}

TEST(CpuTactics, CountDoesNotDependOnCapacity) {
  int32_t ids[2] = {-1, -1};
  const int32_t all =
      tactics_for(layer(MOE4J_FORMAT_BF16), 64, InstructionSet::kPortable, nullptr, 0);
  EXPECT_EQ(tactics_for(layer(MOE4J_FORMAT_BF16), 64, InstructionSet::kPortable, ids, 1), all);
  EXPECT_NE(ids[0], -1);
  EXPECT_EQ(ids[1], -1);
}

TEST(CpuTactics, PortableKernelsAreOnlyAFallback) {
  if (!is_supported(InstructionSet::kAvx2)) GTEST_SKIP() << "this processor has no avx2";
  for (const int32_t id : offered(64, InstructionSet::kAvx2)) {
    EXPECT_EQ(kCpuTactics[id].instruction_set, InstructionSet::kAvx2);
  }
}

TEST(CpuTactics, HashTellsDevicesWithOtherTacticsApart) {
  const uint64_t portable = tactic_table_hash(InstructionSet::kPortable);
  EXPECT_EQ(tactic_table_hash(InstructionSet::kPortable), portable);
  if (is_supported(InstructionSet::kAvx2)) {
    EXPECT_NE(tactic_table_hash(InstructionSet::kAvx2), portable);
  }
}

TEST(InstructionSets, ABoundIsKept) {
  InstructionSet best = InstructionSet::kAvx512Bf16;
  ASSERT_TRUE(best_instruction_set("portable", &best).is_ok());
  EXPECT_EQ(best, InstructionSet::kPortable);
  ASSERT_TRUE(best_instruction_set("avx2", &best).is_ok());
  EXPECT_LE(best, InstructionSet::kAvx2);
  InstructionSet unbounded;
  ASSERT_TRUE(best_instruction_set(nullptr, &unbounded).is_ok());
  ASSERT_TRUE(best_instruction_set("", &best).is_ok());
  EXPECT_EQ(best, unbounded);
  EXPECT_EQ(best_instruction_set("sse9", &best).message(),
            "max_instruction_set: found \"sse9\", expected portable, avx2, avx512, "
            "avx512_vnni, avx512_bf16, amx_int8 or amx_bf16");
}

}  // namespace
}  // namespace moe4j
