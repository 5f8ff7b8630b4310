// Which experts the tokens of a benchmark choose.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace moe4j::bench {

enum class Skew { kUniform, kZipf };

/**
 * Draws ids [tokens, k], distinct within a token. One token's experts come from a shuffled deck
 * that is dealt out before an expert comes back, so that repeated launches of a single token find
 * no weights in the caches.
 */
class RoutingSource {
 public:
  RoutingSource(int32_t num_experts, Skew skew, uint64_t seed)
      : skew_(skew), random_(seed), deck_(static_cast<size_t>(num_experts)) {
    std::iota(deck_.begin(), deck_.end(), 0);
    std::shuffle(deck_.begin(), deck_.end(), random_);
    for (size_t e = 0; e < deck_.size(); ++e) {
      popularity_.push_back(skew == Skew::kZipf ? 1.0 / static_cast<double>(e + 1) : 1.0);
    }
  }

  std::vector<int32_t> draw(int64_t tokens, int32_t k) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) {
      if (tokens == 1 && skew_ == Skew::kUniform) {
        deal(k, &ids);
      } else {
        draw_token(k, &ids);
      }
    }
    return ids;
  }

 private:
  void deal(int32_t k, std::vector<int32_t>* ids) {
    std::rotate(deck_.begin(), deck_.begin() + k, deck_.end());
    ids->insert(ids->end(), deck_.begin(), deck_.begin() + k);
  }

  void draw_token(int32_t k, std::vector<int32_t>* ids) {
    std::vector<double> left = popularity_;
    for (int32_t i = 0; i < k; ++i) {
      std::discrete_distribution<int32_t> choose(left.begin(), left.end());
      const int32_t expert = choose(random_);
      left[static_cast<size_t>(expert)] = 0;
      ids->push_back(expert);
    }
  }

  Skew skew_;
  std::mt19937_64 random_;
  std::vector<int32_t> deck_;
  std::vector<double> popularity_;
};

inline int64_t count_active(std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return std::unique(ids.begin(), ids.end()) - ids.begin();
}

}  // namespace moe4j::bench
