#include "cpu/tactic.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace moe4j {
namespace {

std::vector<int32_t> offered(int64_t tokens, InstructionSet best) {
  std::vector<int32_t> ids(kNumCpuTactics);
  ids.resize(static_cast<size_t>(tactics_for(tokens, best, ids.data(), kNumCpuTactics)));
  return ids;
}

TEST(CpuTactics, NamesAreUniqueAndSayWhatTheTacticIs) {
  std::set<std::string> names;
  for (const CpuTactic& tactic : kCpuTactics) {
    EXPECT_TRUE(names.insert(tactic.name).second) << tactic.name;
    EXPECT_EQ(tactic.name, std::string("cpu.") + name(tactic.instruction_set) + ".t" +
                               std::to_string(tactic.tile_tokens) + ".r" +
                               std::to_string(tactic.row_tile));
  }
}

TEST(CpuTactics, AlwaysOfferSomethingAndTheBestInstructionSetFirst) {
  for (const InstructionSet best : {InstructionSet::kPortable, InstructionSet::kAvx2,
                                    InstructionSet::kAvx512, InstructionSet::kAvx512Bf16}) {
    if (!is_supported(best)) continue;
    for (const int64_t tokens : {0, 1, 2, 3, 4, 7, 8, 100, 100000}) {
      const std::vector<int32_t> ids = offered(tokens, best);
      ASSERT_FALSE(ids.empty());
      EXPECT_EQ(kCpuTactics[ids[0]].instruction_set, best);
      for (const int32_t id : ids) EXPECT_LE(kCpuTactics[id].instruction_set, best);
    }
  }
}

TEST(CpuTactics, CountDoesNotDependOnCapacity) {
  int32_t ids[2] = {-1, -1};
  const int32_t all = tactics_for(64, InstructionSet::kPortable, nullptr, 0);
  EXPECT_EQ(tactics_for(64, InstructionSet::kPortable, ids, 1), all);
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
            "max_instruction_set: found \"sse9\", expected portable, avx2, avx512 or avx512_bf16");
}

}  // namespace
}  // namespace moe4j
