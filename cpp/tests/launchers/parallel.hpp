// Spreading a test's own computations over the machine's processors.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace moe4j::test {

/** Calls work(0) .. work(count - 1), from several threads, in no order. */
template <class Work>
void parallel_for(int64_t count, const Work& work) {
  const int64_t workers = std::min<int64_t>(count, std::thread::hardware_concurrency());
  if (workers < 2) {
    for (int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<int64_t> next{0};
  std::vector<std::thread> threads;
  for (int64_t w = 0; w < workers; ++w) {
    threads.emplace_back([&] {
      for (int64_t i = next++; i < count; i = next++) work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace moe4j::test
