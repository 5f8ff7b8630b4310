#include "cpu/router_logits.hpp"

#include <algorithm>

#include "formats/bf16.hpp"
#include "support/round_up.hpp"

namespace moe4j {
namespace {

const void* row_at(int32_t dtype, const void* matrix, int64_t row, int64_t columns) {
  const int64_t bytes = dtype == MOE4J_F32 ? 4 : 2;
  return static_cast<const uint8_t*>(matrix) + row * columns * bytes;
}

double bias_at(int32_t dtype, const void* bias, int64_t index) {
  if (bias == nullptr) return 0;
  return dtype == MOE4J_F32 ? static_cast<const float*>(bias)[index]
                            : bf16_to_f32(static_cast<const uint16_t*>(bias)[index]);
}

}  // namespace

void router_logits(const RouterProjection& p, const Kernels& kernels,
                   ThreadPool::Lease& threads) noexcept {
  constexpr int64_t kRows = DotTile::kMaxRows;
  const int64_t expert_tiles = ceil_div(p.num_experts, kRows);
  const int64_t token_tiles = ceil_div(p.tokens, kRows);
  threads.parallel_for(token_tiles * expert_tiles, [&](int64_t item) {
    const int64_t token = item / expert_tiles * kRows;
    const int64_t expert = item % expert_tiles * kRows;
    double sums[kRows * kRows];
    DotTile tile = {};
    tile.k = p.hidden_size;
    tile.a_dtype = p.hidden_dtype;
    tile.a = row_at(p.hidden_dtype, p.hidden_states, token, p.hidden_size);
    tile.a_rows = std::min(kRows, p.tokens - token);
    tile.b_dtype = p.weight_dtype;
    tile.b = row_at(p.weight_dtype, p.weight, expert, p.hidden_size);
    tile.b_rows = std::min(kRows, p.num_experts - expert);
    tile.sums = sums;
    kernels.dot_f64(tile);
    for (int64_t i = 0; i < tile.a_rows; ++i) {
      for (int64_t j = 0; j < tile.b_rows; ++j) {
        p.logits[(token + i) * p.num_experts + expert + j] =
            static_cast<float>(sums[i * kRows + j] + bias_at(p.bias_dtype, p.bias, expert + j));
      }
    }
  });
}

}  // namespace moe4j
