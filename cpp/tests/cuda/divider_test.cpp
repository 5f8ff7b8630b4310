#include "cuda/divider.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace moe4j::cuda {
namespace {

TEST(Divider, DividesUpToItsLimit) {
  std::mt19937 random(1);
  for (int32_t divisor = 1; divisor < 5000; divisor += divisor < 300 ? 1 : 37) {
    const Divider by(divisor);
    const int64_t most = std::min<int64_t>(0xFFFFFFFFll / divisor - 1, 0x7FFFFFFF);
    const auto check = [&](int64_t n) {
      if (n < 0 || n > most) return;
      ASSERT_EQ(by.divide(static_cast<int32_t>(n)), n / divisor) << n << " / " << divisor;
    };
    for (int64_t multiple :
         {int64_t{0}, int64_t{divisor}, most / 2 / divisor * divisor, most / divisor * divisor}) {
      for (int64_t near = -2; near <= 2; ++near) check(multiple + near);
    }
    check(most);
    for (int i = 0; i < 100; ++i) check(std::uniform_int_distribution<int64_t>(0, most)(random));
  }
}

}  // namespace
}  // namespace moe4j::cuda
