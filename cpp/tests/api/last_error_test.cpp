#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "moe4j/moe4j.h"

namespace moe4j {
namespace {

TEST(LastError, BelongsToTheThreadThatFailed) {
  int32_t count = 0;
  ASSERT_EQ(moe4j_device_count(77, &count), MOE4J_INVALID_ARGUMENT);
  const std::string here = moe4j_last_error();
  EXPECT_EQ(here, "kind: found 77, expected 0 <= kind <= 1");
  std::thread([] {
    EXPECT_STREQ(moe4j_last_error(), "");
    int32_t other = 0;
    EXPECT_EQ(moe4j_device_count(-3, &other), MOE4J_INVALID_ARGUMENT);
    EXPECT_STREQ(moe4j_last_error(), "kind: found -3, expected 0 <= kind <= 1");
  }).join();
  EXPECT_EQ(moe4j_last_error(), here);
}

TEST(LastError, IsCutRatherThanOverflowing) {
  // A name that no instruction set has, far longer than a message.
  const std::string name(5000, 'x');
  moe4j_device* device = nullptr;
  EXPECT_EQ(moe4j_device_open(MOE4J_CPU, 0, 1, name.c_str(), &device), MOE4J_INVALID_ARGUMENT);
  const std::string message = moe4j_last_error();
  EXPECT_EQ(message.substr(0, 20), "max_instruction_set:");
  EXPECT_LT(message.size(), 2000u);
}

}  // namespace
}  // namespace moe4j
