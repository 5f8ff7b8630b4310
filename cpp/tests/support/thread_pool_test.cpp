#include "support/thread_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
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

/** Waits, holding the pool, until callers of `start` have queued up one after the other. */
template <class Start>
std::vector<std::thread> queue_up(int callers, const Start& start) {
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; ++c) {
    std::atomic<bool> runs{false};
    threads.emplace_back([&start, &runs, c] {
      runs = true;
      start(c);
    });
    while (!runs) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until it waits in the queue
  }
  return threads;
}

TEST(ThreadPool, ServesCallersInTheOrderOfTheirArrival) {
  const auto pool = make_pool(1);
  std::vector<int> order;
  const auto start = [&](int c) {
    ThreadPool::Lease lease(*pool);
    order.push_back(c);  // the lease is the lock
  };
  std::vector<std::thread> callers;
  {
    ThreadPool::Lease first(*pool);
    callers = queue_up(4, start);
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST(ThreadPool, RunsEveryTaskOnceInTheOrderOfArrivalWhoeversThreadDoesIt) {
  const auto pool = make_pool(2);
  std::vector<int> order;
  const auto start = [&](int c) {
    int mine = 0;  // not atomic: run_in_turn() is the synchronization
    pool->run_in_turn(1, [&](ThreadPool::Lease& lease) {
      std::atomic<int> calls{0};
      lease.parallel_for(10, [&](int64_t) { ++calls; });
      mine = calls.load();
      order.push_back(c);
    });
    EXPECT_EQ(mine, 10);
  };
  std::vector<std::thread> callers;
  pool->run_in_turn(1, [&](ThreadPool::Lease&) { callers = queue_up(12, start); });
  for (std::thread& caller : callers) caller.join();
  std::vector<int> expected(12);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(ThreadPool, NobodyWaitsForATaskLargerThanItsOwn) {
  const auto pool = make_pool(1);
  std::vector<std::thread::id> ran(3);
  const auto start = [&](int c) {
    pool->run_in_turn(c == 1 ? 100 : 1, [&, c](ThreadPool::Lease&) {
      ran[static_cast<size_t>(c)] = std::this_thread::get_id();
    });
  };
  std::vector<std::thread> callers;
  pool->run_in_turn(1, [&](ThreadPool::Lease&) { callers = queue_up(3, start); });
  std::vector<std::thread::id> ids;
  for (std::thread& caller : callers) ids.push_back(caller.get_id());
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(ran[0], std::this_thread::get_id());
  EXPECT_EQ(ran[1], ids[1]);
  EXPECT_EQ(ran[2], ids[1]);  // small enough for the large one's thread to go on with
}

TEST(ThreadPool, ManyCallersAtOnce) {
  const auto pool = make_pool(3);
  std::vector<std::thread> callers;
  int64_t total = 0;  // not atomic: one task at a time
  for (int c = 0; c < 8; ++c) {
    callers.emplace_back([&, c] {
      for (int round = 0; round < 200; ++round) {
        int64_t sum = 0;
        const auto task = [&](ThreadPool::Lease& lease) {
          std::atomic<int64_t> items{0};
          lease.parallel_for(9, [&](int64_t i) { items += i; });
          sum = items.load();
          total += sum;
        };
        if (c == 0) {
          ThreadPool::Lease lease(*pool);
          task(lease);
        } else {
          pool->run_in_turn(c, task);
        }
        ASSERT_EQ(sum, 36);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 8 * 200 * 36);
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
