#include "bench/ceilings.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moe4j::bench {
namespace {

constexpr int kRuns = 7;
constexpr int64_t kReadBytes = int64_t{256} << 20;
constexpr int64_t kSteps = 2'000'000;

/** Keeps results alive. */
std::atomic<int64_t> sink{0};

/** The fastest of kRuns runs of work(thread) on all threads, in seconds. */
double fastest(int32_t threads, const std::function<void(int32_t)>& work) {
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    std::atomic<int32_t> ready{0};
    std::vector<std::thread> workers;
    std::vector<double> seconds(static_cast<size_t>(threads));
    for (int32_t i = 0; i < threads; ++i) {
      workers.emplace_back([&, i] {
        ++ready;
        while (ready.load() < threads) std::this_thread::yield();
        const auto begin = std::chrono::steady_clock::now();
        work(i);
        seconds[static_cast<size_t>(i)] =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      });
    }
    for (std::thread& worker : workers) worker.join();
    best = std::min(best, *std::max_element(seconds.begin(), seconds.end()));
  }
  return best;
}

int64_t sum_words(const int64_t* words, int64_t count) {
  int64_t lanes[16] = {};
  for (int64_t i = 0; i < count; i += 16) {
    for (int64_t lane = 0; lane < 16; ++lane) lanes[lane] += words[i + lane];
  }
  int64_t sum = 0;
  for (const int64_t lane : lanes) sum += lane;
  return sum;
}

#if defined(__x86_64__)

/** Twelve independent sums: more than latency needs, fewer than there are registers. */
constexpr int kSums = 12;

__attribute__((target("avx2,fma"), optimize("O3"))) void multiply_avx2() {
  __m256 sums[kSums];
  for (auto& sum : sums) sum = _mm256_set1_ps(1e-3f);
  const __m256 factor = _mm256_set1_ps(0.999f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm256_fmadd_ps(sums[s], factor, factor);
  }
  for (const auto& sum : sums) sink += static_cast<int64_t>(_mm256_cvtss_f32(sum));
}

__attribute__((target("avx512f"), optimize("O3"))) void multiply_avx512() {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1e-3f);
  const __m512 factor = _mm512_set1_ps(0.999f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_fmadd_ps(sums[s], factor, factor);
  }
  for (const auto& sum : sums) sink += static_cast<int64_t>(_mm512_cvtss_f32(sum));
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"), optimize("O3"))) void
multiply_avx512_bf16() {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1e-3f);
  const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3C00));
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_dpbf16_ps(sums[s], factor, factor);
  }
  for (const auto& sum : sums) sink += static_cast<int64_t>(_mm512_cvtss_f32(sum));
}

#endif

struct Multiplier {
  const char* name;
  void (*multiply)();
  double flops_per_step;
};

Multiplier best_multiplier() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16")) {
    return {"avx512_bf16 dot", multiply_avx512_bf16, kSums * 64.0};
  }
  if (__builtin_cpu_supports("avx512f")) return {"avx512 fma", multiply_avx512, kSums * 32.0};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {"avx2 fma", multiply_avx2, kSums * 16.0};
  }
#endif
  return {"none", nullptr, 0};
}

}  // namespace

Ceilings measure_cpu_ceilings(int32_t threads) {
  const int64_t words = kReadBytes / static_cast<int64_t>(sizeof(int64_t));
  std::vector<int64_t> memory(static_cast<size_t>(words), 1);
  const int64_t share = words / threads / 16 * 16;
  const double read =
      fastest(threads, [&](int32_t i) { sink += sum_words(memory.data() + i * share, share); });
  const double bytes = static_cast<double>(share * threads) * sizeof(int64_t);

  const Multiplier best = best_multiplier();
  if (best.multiply == nullptr) return {bytes / read, 0, best.name};
  const double multiply = fastest(threads, [&](int32_t) { best.multiply(); });
  return {bytes / read, best.flops_per_step * kSteps * threads / multiply, best.name};
}

}  // namespace moe4j::bench
