#include "support/thread_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace moe4j {
namespace {

std::unique_ptr<ThreadPool> make_pool(int32_t threads) {
  std::unique_ptr<ThreadPool> pool;
  const Status status = ThreadPool::create(threads, &pool);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return pool;
}

TEST(ThreadPool, CallsEachItemOnce) {
  for (const int32_t threads : {1, 2, 5}) {
    const auto pool = make_pool(threads);
    EXPECT_EQ(pool->num_threads(), threads);
    for (const int64_t count : {0, 1, 2, 3, 100, 5000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      ThreadPool::Lease lease(*pool);
      lease.parallel_for(count, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      for (const auto& called : calls) ASSERT_EQ(called.load(), 1);
    }
  }
}

TEST(ThreadPool, ReturnsWhenAllItemsAreDone) {
  const auto pool = make_pool(4);
  ThreadPool::Lease lease(*pool);
  for (int round = 0; round < 3000; ++round) {
    int64_t plain[7] = {};  // written without synchronization: the return is the synchronization
    lease.parallel_for(7, [&](int64_t i) { plain[i] = i + round; });
    for (int64_t i = 0; i < 7; ++i) ASSERT_EQ(plain[i], i + round);
  }
}

TEST(ThreadPool, WakesThreadsThatHaveGoneToSleep) {
  const auto pool = make_pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ThreadPool::Lease lease(*pool);
    // Each item waits for the other: one thread alone could never return.
    std::atomic<int> arrived{0};
    lease.parallel_for(2, [&](int64_t) {
      ++arrived;
      while (arrived.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived.load(), 2);
  }
}

TEST(ThreadPool, CallerSleepsWhileAWorkerIsLate) {
  const auto pool = make_pool(2);
  ThreadPool::Lease lease(*pool);
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> arrived{0};
    std::atomic<bool> worker_done{false};
    lease.parallel_for(2, [&](int64_t) {
      ++arrived;
      while (arrived.load() < 2) std::this_thread::yield();
      if (std::this_thread::get_id() == caller) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      worker_done.store(true);
    });
    EXPECT_TRUE(worker_done.load());
  }
}

TEST(ThreadPool, NeverRunsMoreThreadsThanAskedFor) {
  constexpr int kCallers = 8;
  for (const int32_t threads : {1, 3}) {
    const auto pool = make_pool(threads);
    std::atomic<int32_t> running{0};
    std::atomic<int32_t> most{0};
    std::atomic<int64_t> done{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < kCallers; ++c) {
      callers.emplace_back([&] {
        for (int round = 0; round < 20; ++round) {
          ThreadPool::Lease lease(*pool);
          lease.parallel_for(16, [&](int64_t) {
            const int32_t now = ++running;
            int32_t known = most.load();
            while (now > known && !most.compare_exchange_weak(known, now)) {
            }
            std::this_thread::yield();
            --running;
            ++done;
          });
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(done.load(), kCallers * 20 * 16);
    EXPECT_LE(most.load(), threads);
  }
}

TEST(ThreadPool, ServesCallersInTheOrderOfTheirArrival) {
  const auto pool = make_pool(1);
  std::vector<int> order;
  std::vector<std::thread> callers;
  {
    ThreadPool::Lease first(*pool);
    for (int c = 0; c < 4; ++c) {
      callers.emplace_back([&, c] {
        ThreadPool::Lease lease(*pool);
        order.push_back(c);  // the lease is the lock
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until it waits in the queue
    }
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST(ThreadPool, ThreadsEndWithThePool) {
  for (int round = 0; round < 50; ++round) {
    const auto pool = make_pool(3);
    if (round % 2 == 0) continue;
    std::atomic<int> calls{0};
    ThreadPool::Lease(*pool).parallel_for(10, [&](int64_t) { ++calls; });
    EXPECT_EQ(calls.load(), 10);
  }
}

}  // namespace
}  // namespace moe4j
