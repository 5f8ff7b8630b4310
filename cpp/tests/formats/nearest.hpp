// The oracle of the encoders: a search over a table of values, written from the formats' definition
// and sharing nothing with the code under test.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace moe4j::test {

/** Magnitudes of the codes 0, 1, 2, ... of E2M1. */
inline std::vector<double> e2m1_magnitudes() { return {0, 0.5, 1, 1.5, 2, 3, 4, 6}; }

/** Magnitudes of the codes 0..0x7E of E4M3: e in 4 bits of bias 7, m in 3 bits. */
inline std::vector<double> e4m3_magnitudes() {
  std::vector<double> values;
  for (int code = 0; code < 0x7F; ++code) {
    const int e = code / 8;
    const int m = code % 8;
    values.push_back(e == 0 ? std::ldexp(m, -9) : std::ldexp(8 + m, e - 10));
  }
  return values;
}

/** The index of the magnitude nearest to |value|; of two as near, the even one. */
inline int nearest_magnitude(const std::vector<double>& magnitudes, double value) {
  const double wanted = std::fabs(value);
  if (wanted >= magnitudes.back()) return static_cast<int>(magnitudes.size()) - 1;
  int best = 0;
  for (int i = 1; i < static_cast<int>(magnitudes.size()); ++i) {
    const double distance = std::fabs(magnitudes[i] - wanted);
    const double best_distance = std::fabs(magnitudes[best] - wanted);
    if (distance < best_distance || (distance == best_distance && i % 2 == 0)) best = i;
  }
  return best;
}

}  // namespace moe4j::test
