#include "support/message.hpp"

#include <gtest/gtest.h>

#include <string>

namespace moe4j {
namespace {

Status succeeds_then(const Status& status) {
  MOE4J_RETURN_IF_ERROR(Status::ok());
  MOE4J_RETURN_IF_ERROR(status);
  return {MOE4J_UNSUPPORTED, "reached the end"};
}

TEST(Message, IsWrittenByPrintfRules) {
  const Status status = invalid_argument("topk_ids: found %d at [%d, %d]", 99, 3, 1);
  EXPECT_EQ(status.code(), MOE4J_INVALID_ARGUMENT);
  EXPECT_EQ(status.message(), "topk_ids: found 99 at [3, 1]");
  EXPECT_EQ(failure(MOE4J_DEVICE_ERROR, "device: %s", "gone").code(), MOE4J_DEVICE_ERROR);
}

TEST(Message, IsCutWhenTooLong) {
  const std::string text(100000, 'y');
  const std::string message = invalid_argument("name: %s", text.c_str()).message();
  EXPECT_EQ(message.substr(0, 7), "name: y");
  EXPECT_LT(message.size(), 2000u);
}

TEST(Status, PassesTheFirstErrorOn) {
  EXPECT_EQ(succeeds_then(invalid_argument("first")).message(), "first");
  EXPECT_EQ(succeeds_then(Status::ok()).message(), "reached the end");
}

}  // namespace
}  // namespace moe4j
