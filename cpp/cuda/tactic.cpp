#include "cuda/tactic.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "cuda/gemm/decode_limits.hpp"
#include "cuda/gemm/narrow_limits.hpp"
#include "cuda/gemm/sm90_decode.hpp"
#include "cuda/weight_layout.hpp"
#include "support/layer_desc.hpp"

namespace moe4j::cuda {
namespace {

/** Raised when kernels change enough that tunings of older ones mislead. */
constexpr uint64_t kTacticVersion = 6;

constexpr Tactic kRows[] = {
#define MOE4J_SM80_GROUPED(name, tokens, warps, strips, ...) \
  {name, Family::kSm80Grouped, 0, tokens, (warps) * (strips)*kStripRows, 1, 0, 0},
#define MOE4J_DECODE(name, split) {name, Family::kDecode, 0, kDecodeTokens, 0, split, 0, 0},
#include "tactics/sm80.def"
#define MOE4J_SM90_GROUPED(name, blocks, warpgroups, stage_blocks, stages, ...) \
  {name, Family::kSm90Grouped, 0, token_tile({__VA_ARGS__}), (warpgroups)*kTileRows, 1, 0, 0},
#include "tactics/sm90.def"
#define MOE4J_SM90_FP8(name, blocks, consumers, stage_blocks, stages, ...) \
  {name, Family::kSm90Fp8, 0, token_tile({__VA_ARGS__}), (consumers)*kTileRows, 1, 0, 0},
#include "tactics/sm90_fp8.def"
#define MOE4J_SM90_NARROW(name, tokens, row_blocks, ...) \
  {name, Family::kSm90Narrow, 0, tokens, (row_blocks)*kTileRows, 1, 0, 0},
#include "tactics/sm90_narrow.def"
#define MOE4J_SM90_DECODE(name, blocks, stages) \
  {name, Family::kSm90Decode, 0, kDecodeTokens, 0, 1, blocks, stages},
#include "tactics/sm90_decode.def"
};
constexpr int32_t kSingles = sizeof(kRows) / sizeof(kRows[0]);

/** Two tactics whose kernels share each GEMM. */
struct Pair {
  std::string_view name;
  std::string_view wide;
  std::string_view narrow;
};
constexpr Pair kPairs[] = {
#define MOE4J_SM90_PAIR(wide, narrow) {wide "+" narrow, wide, narrow},
#include "tactics/sm90_pairs.def"
};
constexpr int32_t kCount = kSingles + sizeof(kPairs) / sizeof(kPairs[0]);

/** The row of this name. */
constexpr int32_t row_of(std::string_view name) {
  int32_t row = 0;
  while (kRows[row].name != name) ++row;
  return row;
}

/** The table: rows, with those of each family counted, then pairs. */
constexpr std::array<Tactic, kCount> make_table() {
  std::array<Tactic, kCount> table = {};
  int32_t next[static_cast<int>(Family::kSm90Decode) + 1] = {};
  int32_t count = 0;
  for (const Tactic& row : kRows) {
    table[count] = row;
    table[count++].row = next[static_cast<int>(row.family)]++;
  }
  for (const Pair& pair : kPairs) {
    table[count] = table[row_of(pair.wide)];
    table[count].name = pair.name.data();
    table[count++].narrower = row_of(pair.narrow);
  }
  return table;
}
constexpr std::array<Tactic, kCount> kTable = make_table();

int32_t first_of(Family family, int32_t min_tokens) {
  for (int32_t i = 0; i < kCount; ++i) {
    if (kTable[i].family == family && kTable[i].tokens >= min_tokens) return i;
  }
  return first_of(family, 0);
}

/** The pair whose narrower kernels have a tile of this many tokens: suits skewed routing as well.
 */
int32_t pair_of(Family family, int32_t narrower_tokens) {
  for (int32_t i = 0; i < kCount; ++i) {
    const int32_t narrower = kTable[i].narrower;
    if (kTable[i].family == family && narrower >= 0 && kTable[narrower].tokens == narrower_tokens) {
      return i;
    }
  }
  return first_of(family, narrower_tokens);
}

}  // namespace

int32_t num_tactics() noexcept { return kCount; }

const Tactic& tactic(int32_t id) noexcept { return kTable[static_cast<size_t>(id)]; }

int32_t fallback_tactic(const Tactic& tactic) noexcept {
  return first_of(
      tactic.family == Family::kSm90Narrow ? Family::kSm90Grouped : Family::kSm80Grouped,
      tactic.tokens);
}

bool family_runs_on(Family family, int32_t compute_capability) noexcept {
  const bool hopper = family == Family::kSm90Grouped || family == Family::kSm90Fp8 ||
                      family == Family::kSm90Narrow || family == Family::kSm90Decode;
  return hopper ? compute_capability == 90 : compute_capability >= 80;
}

bool fp8_suits(const moe4j_layer_desc& desc, int32_t compute_capability) noexcept {
  return desc.activation_format == MOE4J_FORMAT_FP8_PER_TOKEN &&
         desc.weight_format == MOE4J_FORMAT_MXFP4 &&
         family_runs_on(Family::kSm90Fp8, compute_capability);
}

bool decode_suits(const Tactic& tactic, const moe4j_layer_desc& desc, int64_t tokens) noexcept {
  const int32_t slots = slots_per_token(desc);
  if (tokens > kDecodeTokens || desc.hidden_size % kTileK != 0 ||
      desc.intermediate_size % kTileK != 0 || desc.activation_format != MOE4J_FORMAT_BF16) {
    return false;
  }
  if (tactic.family == Family::kDecode) {
    return tokens * slots <= kDecodePairs &&
           decode_shared_bytes(tokens, desc.hidden_size) <= kMaxDecodeShared;
  }
  return desc.weight_format != MOE4J_FORMAT_BF16 && slots <= kSm90DecodeSlots &&
         desc.intermediate_size <= kSm90DecodeIntermediate &&
         plan_gate_up(desc.weight_format, static_cast<int32_t>(tokens), slots, desc.hidden_size,
                      tactic.blocks, tactic.stages)
                 .blocks > 0;
}

bool narrow_suits(const moe4j_layer_desc& desc, int64_t tokens) noexcept {
  return tokens <= kNarrowTokens && num_held_experts(desc) <= kNarrowExperts &&
         desc.hidden_size % kTileK == 0 && desc.intermediate_size % kTileK == 0 &&
         desc.weight_format != MOE4J_FORMAT_BF16 && desc.activation_format == MOE4J_FORMAT_BF16;
}

int32_t default_tactic(const moe4j_layer_desc& desc, int64_t tokens, int32_t compute_capability,
                       bool fp8) noexcept {
  const int64_t per_expert = ceil_div(tokens * desc.top_k, desc.num_experts);
  if (fp8) {
    return per_expert <= 2    ? first_of(Family::kSm90Fp8, 16)
           : per_expert <= 18 ? first_of(Family::kSm90Fp8, 32)
                              : pair_of(Family::kSm90Fp8, 64);
  }
  const bool hopper = family_runs_on(Family::kSm90Grouped, compute_capability);
  // Few bytes: the two kernels of decode save more than the others gain. (Elsewhere mma.sync is all
  // there is.)
  const bool hopper_decode = hopper && desc.weight_format != MOE4J_FORMAT_BF16;
  const bool single = tokens == 1;  // four blocks a multiprocessor instead of three
  const int32_t decode = hopper_decode ? first_of(Family::kSm90Decode, 0) + single
                                       : first_of(Family::kDecode, 0) + 1;  // K split in two
  // In double: sizes may be such that the product has more than 64 bits.
  const double weights =
      static_cast<double>(tokens * desc.top_k) * desc.hidden_size * desc.intermediate_size;
  const double few_weights = !hopper_decode ? 40e6 : single ? 125e6 : 80e6;
  const bool few = weights < few_weights && (!hopper_decode || tokens <= 2);
  if ((!hopper || few) && decode_suits(tactic(decode), desc, tokens)) {
    return decode;
  }
  if (!hopper) {
    return first_of(Family::kSm80Grouped,
                    static_cast<int32_t>(std::min<int64_t>(2 * per_expert, 64)));
  }
  if (narrow_suits(desc, tokens) && per_expert <= 11) {
    // Few tokens: tiles of 64 rows even out, if short rows keep them short.
    const bool small = tokens <= 4 && desc.hidden_size < 4096;
    return first_of(Family::kSm90Narrow, small ? 8 : per_expert <= 4 ? 16 : 32);
  }
  return per_expert <= 2     ? first_of(Family::kSm90Grouped, 16)
         : per_expert <= 20  ? first_of(Family::kSm90Grouped, 32)
         : per_expert <= 40  ? pair_of(Family::kSm90Grouped, 48)
         : per_expert <= 400 ? pair_of(Family::kSm90Grouped, 80)
                             : first_of(Family::kSm90Grouped, 256);
}

namespace {

/** Calls `function` with the weight format as a compile-time constant. */
template <class Function>
auto with_format(int32_t weight_format, Function&& function) {
  switch (weight_format) {
    case MOE4J_FORMAT_NVFP4:
      return function(std::integral_constant<int, MOE4J_FORMAT_NVFP4>{});
    case MOE4J_FORMAT_MXFP4:
      return function(std::integral_constant<int, MOE4J_FORMAT_MXFP4>{});
    default:
      return function(std::integral_constant<int, MOE4J_FORMAT_BF16>{});
  }
}

}  // namespace

GroupedInstance grouped_instance(const Tactic& tactic, int32_t weight_format,
                                 Projection projection) noexcept {
  if (tactic.family == Family::kSm90Fp8) {
    return projection == Projection::kDown
               ? sm90_fp8_grouped_instance<Projection::kDown>(tactic.row)
               : sm90_fp8_grouped_instance<Projection::kGateUp>(tactic.row);
  }
  return with_format(weight_format, [&](auto format) {
    constexpr int kFormat = decltype(format)::value;
    const bool down = projection == Projection::kDown;
    if (tactic.family == Family::kSm80Grouped) {
      return down ? sm80_grouped_instance<kFormat, Projection::kDown>(tactic.row)
                  : sm80_grouped_instance<kFormat, Projection::kGateUp>(tactic.row);
    }
    return down ? sm90_grouped_instance<kFormat, Projection::kDown>(tactic.row)
                : sm90_grouped_instance<kFormat, Projection::kGateUp>(tactic.row);
  });
}

NarrowInstance narrow_instance(const Tactic& tactic, int32_t weight_format) noexcept {
  return weight_format == MOE4J_FORMAT_NVFP4 ? sm90_narrow_instance<MOE4J_FORMAT_NVFP4>(tactic.row)
                                             : sm90_narrow_instance<MOE4J_FORMAT_MXFP4>(tactic.row);
}

DecodeKernel decode_gate_up_kernel(const Tactic& tactic, int32_t weight_format) noexcept {
  return with_format(weight_format, [&](auto format) {
    return decode_gate_up_instance<format.value>(tactic.row);
  });
}

DecodeKernel decode_down_kernel(int32_t weight_format) noexcept {
  return with_format(weight_format,
                     [](auto format) { return decode_down_instance<format.value>(); });
}

Sm90DecodeInstance sm90_decode_kernels(int32_t weight_format) noexcept {
  return weight_format == MOE4J_FORMAT_NVFP4 ? sm90_decode_instance<MOE4J_FORMAT_NVFP4>()
                                             : sm90_decode_instance<MOE4J_FORMAT_MXFP4>();
}

uint64_t tactic_table_hash() noexcept {
  uint64_t hash = 0xCBF29CE484222325u ^ kTacticVersion;  // FNV-1a
  for (const Tactic& row : kTable) {
    for (const char* c = row.name; *c != 0; ++c) {
      hash = (hash ^ static_cast<unsigned char>(*c)) * 0x100000001B3u;
    }
    hash = (hash ^ 0xFF) * 0x100000001B3u;
  }
  return hash;
}

}  // namespace moe4j::cuda
