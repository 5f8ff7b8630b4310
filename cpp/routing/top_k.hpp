// The k best of a stream of scores.
#pragma once

#include <cstdint>

#include "support/limits.hpp"

namespace moe4j {

/** Keeps the `k` best scores, best first; of equal scores the one offered first stays ahead. */
class TopK {
 public:
  explicit TopK(int32_t k) noexcept : k_(k) {}

  void offer(double score, int32_t id) noexcept {
    if (count_ == k_ && !(score > scores_[k_ - 1])) return;
    int32_t place = count_ < k_ ? count_++ : k_ - 1;
    for (; place > 0 && score > scores_[place - 1]; --place) {
      scores_[place] = scores_[place - 1];
      ids_[place] = ids_[place - 1];
    }
    scores_[place] = score;
    ids_[place] = id;
  }

  const int32_t* ids() const noexcept { return ids_; }

 private:
  int32_t k_;
  int32_t count_ = 0;
  double scores_[kMaxTopK];
  int32_t ids_[kMaxTopK];
};

}  // namespace moe4j
