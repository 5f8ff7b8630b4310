#include "bench/ceilings.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moe4j::bench {
namespace {

constexpr int kRuns = 7;
constexpr int64_t kReadBytes = int64_t{256} << 20;
constexpr int64_t kSteps = 200'000;
constexpr int64_t kHugePage = 2 << 20;

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

/** kSteps times `sum = ...` for each of the sums, in registers. No function: it would need the
 * target of whoever calls it. */
#define MOE4J_REPEAT(sum, sums, ...)              \
  for (int64_t step = 0; step < kSteps; ++step) { \
    for (auto& sum : sums) sum = __VA_ARGS__;     \
  }

__attribute__((target("avx2,fma"), optimize("O3"))) void multiply_avx2() {
  __m256 sums[kSums];
  for (auto& sum : sums) sum = _mm256_set1_ps(1e-3f);
  const __m256 factor = _mm256_set1_ps(0.999f);
  MOE4J_REPEAT(sum, sums, _mm256_fmadd_ps(sum, factor, factor))
  for (const auto& sum : sums) sink += static_cast<int64_t>(_mm256_cvtss_f32(sum));
}

__attribute__((target("avx512f"), optimize("O3"))) void multiply_avx512() {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1e-3f);
  const __m512 factor = _mm512_set1_ps(0.999f);
  MOE4J_REPEAT(sum, sums, _mm512_fmadd_ps(sum, factor, factor))
  for (const auto& sum : sums) sink += static_cast<int64_t>(_mm512_cvtss_f32(sum));
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"), optimize("O3"))) void
multiply_avx512_bf16() {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1e-3f);
  const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3C00));
  MOE4J_REPEAT(sum, sums, _mm512_dpbf16_ps(sum, factor, factor))
  for (const auto& sum : sums) sink += static_cast<int64_t>(_mm512_cvtss_f32(sum));
}

/** A product of which the compiler cannot know that it is the same as the one before. */
__attribute__((target("avx2"), always_inline)) inline __m256i fresh_product(__m256i& weights) {
  asm("" : "+x"(weights));
  return _mm256_maddubs_epi16(weights, weights);
}

__attribute__((target("avx2"), optimize("O3"))) void multiply_avx2_int8() {
  __m256i sums[kSums];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  __m256i weights = _mm256_set1_epi8(1);
  MOE4J_REPEAT(sum, sums, _mm256_add_epi16(sum, fresh_product(weights)))
  for (const auto& sum : sums) sink += _mm256_extract_epi16(sum, 0);
}

__attribute__((target("avx512f,avx512vnni"), optimize("O3"))) void multiply_avx512_vnni() {
  __m512i sums[kSums];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  const __m512i factor = _mm512_set1_epi8(1);
  MOE4J_REPEAT(sum, sums, _mm512_dpbusd_epi32(sum, factor, factor))
  for (const auto& sum : sums) sink += _mm512_cvtsi512_si32(sum);
}

#undef MOE4J_REPEAT

/** Registers of sums that tile multiplications go round. */
constexpr int kTiles = 4;

/** Eight tile registers of 16 rows of 64 bytes, zeroed. */
__attribute__((target("amx-tile"))) void configure_tiles() {
  struct alignas(64) {
    uint8_t palette = 1;
    uint8_t zeros[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  asm volatile("" : : "r"(&config) : "memory");  // GCC believes that only eight bytes are read
  _tile_loadconfig(&config);
}

__attribute__((target("amx-tile,amx-int8"))) void multiply_amx_int8() {
  configure_tiles();
  for (int64_t i = 0; i < kSteps; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("amx-tile,amx-bf16"))) void multiply_amx_bf16() {
  configure_tiles();
  for (int64_t i = 0; i < kSteps; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

#endif

struct Multiplier {
  const char* instruction_set;
  const char* name;
  bool int8;
  void (*multiply)();
  double operations_per_step;
};

constexpr Multiplier kMultipliers[] = {
#if defined(__x86_64__)
    {"avx2", "avx2 fma", false, multiply_avx2, kSums * 16.0},
    {"avx2", "avx2 8-bit", true, multiply_avx2_int8, kSums * 64.0},
    {"avx512", "avx512 fma", false, multiply_avx512, kSums * 32.0},
    {"avx512_vnni", "avx512_vnni dot", true, multiply_avx512_vnni, kSums * 128.0},
    {"avx512_bf16", "avx512_bf16 dot", false, multiply_avx512_bf16, kSums * 64.0},
    {"amx_int8", "amx int8 tiles", true, multiply_amx_int8, kTiles * 32768.0},
    {"amx_bf16", "amx bf16 tiles", false, multiply_amx_bf16, kTiles * 16384.0},
#endif
};

bool has_instruction_set(const moe4j_device_info& info, const std::string& name) {
  const std::string all = std::string(" ") + info.instruction_sets + " ";
  return all.find(" " + name + " ") != std::string::npos;
}

}  // namespace

Ceilings measure_cpu_ceilings(const moe4j_device_info& info) {
  const int32_t threads = info.compute_units;
  const int64_t words = kReadBytes / static_cast<int64_t>(sizeof(int64_t));
  const std::unique_ptr<int64_t, void (*)(void*)> memory(
      static_cast<int64_t*>(std::aligned_alloc(kHugePage, kReadBytes)), std::free);
  if (memory == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  madvise(memory.get(), kReadBytes, MADV_HUGEPAGE);  // as prepared weights
#endif
  std::fill_n(memory.get(), words, 1);
  const int64_t share = words / threads / 16 * 16;
  const double read =
      fastest(threads, [&](int32_t i) { sink += sum_words(memory.get() + i * share, share); });
  Ceilings ceilings = {static_cast<double>(share * threads) * sizeof(int64_t) / read, {}};
  for (const Multiplier& multiplier : kMultipliers) {
    if (!has_instruction_set(info, multiplier.instruction_set)) continue;
    const double seconds = fastest(threads, [&](int32_t) { multiplier.multiply(); });
    ceilings.multipliers.push_back({multiplier.name, multiplier.int8,
                                    multiplier.operations_per_step * kSteps * threads / seconds});
  }
  return ceilings;
}

}  // namespace moe4j::bench
