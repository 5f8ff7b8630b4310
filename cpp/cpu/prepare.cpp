#include "cpu/prepare.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/panel_layout.hpp"
#include "formats/block_format.hpp"
#include "formats/block_scale.hpp"

namespace moe4j {
namespace {

/** The low nibbles of four bytes, closed up in the lower 16 bits. */
uint32_t close_up_nibbles(uint32_t bytes) {
  bytes &= 0x0F0F0F0Fu;
  bytes = (bytes | (bytes >> 4)) & 0x00FF00FFu;
  return (bytes | (bytes >> 8)) & 0xFFFFu;
}

/** Eight codes in a checkpoint's order, even K in low nibbles, to a row's 32 bits in a panel. */
uint32_t arrange_codes(uint32_t packed) {
  return close_up_nibbles(packed) | (close_up_nibbles(packed >> 4) << 16);
}

/** One row's share of a chunk with all its 64 K. */
template <int32_t kFormat>
void pack_fp4(const uint8_t* codes, const uint8_t* scales, int64_t row, uint8_t* chunk) {
  constexpr int kBlock = block_format(kFormat).block;
  auto* words = reinterpret_cast<uint32_t*>(chunk) + row;
  for (int64_t group = 0; group < kChunkK / 8; ++group) {
    uint32_t packed;
    std::memcpy(&packed, codes + group * 4, sizeof(packed));
    uint32_t word = arrange_codes(packed);
    if constexpr (kFormat == MOE4J_FORMAT_NVFP4) {
      const bool negative = (scales[group * 8 / kBlock] & 0x80) != 0;
      word ^= negative ? 0x88888888u : 0u;
    }
    words[group * kPanelRows] = word;
  }
  uint8_t* packed_scales = chunk + chunk_code_bytes(kFormat) + row;
  for (int64_t block = 0; block < kChunkK / kBlock; ++block) {
    const uint8_t scale = scales[block];
    packed_scales[block * kPanelRows] =
        kFormat == MOE4J_FORMAT_NVFP4 ? static_cast<uint8_t>(scale & 0x7F) : scale;
  }
}

void pack_bf16(const uint8_t* codes, int64_t row, uint8_t* chunk) {
  for (int64_t pair = 0; pair < kChunkK / 2; ++pair) {
    std::memcpy(chunk + (pair * kPanelRows + row) * 4, codes + pair * 4, 4);
  }
}

void pack_row(int32_t weight_format, const uint8_t* codes, const uint8_t* scales, int64_t row,
              uint8_t* chunk) {
  switch (weight_format) {
    case MOE4J_FORMAT_NVFP4:
      return pack_fp4<MOE4J_FORMAT_NVFP4>(codes, scales, row, chunk);
    case MOE4J_FORMAT_MXFP4:
      return pack_fp4<MOE4J_FORMAT_MXFP4>(codes, scales, row, chunk);
    default:
      return pack_bf16(codes, row, chunk);
  }
}

}  // namespace

SourceRow source_row(const moe4j_matrix& matrix, int64_t row) noexcept {
  const auto* scales = static_cast<const uint8_t*>(matrix.scales);
  return {static_cast<const uint8_t*>(matrix.codes) + row * matrix.row_stride,
          scales == nullptr ? nullptr : scales + row * matrix.scale_row_stride};
}

void pack_panel(int32_t weight_format, int64_t k, const SourceRow* rows, uint8_t* panel) noexcept {
  const BlockFormat format = block_format(weight_format);
  constexpr int64_t kMaxRowBytes = kChunkK * 2;
  constexpr int64_t kMaxRowScales = kChunkK / 16;
  for (int64_t first = 0; first < k; first += kChunkK) {
    uint8_t* chunk = panel + first / kChunkK * chunk_bytes(weight_format);
    const int64_t length = std::min(kChunkK, k - first);
    for (int64_t row = 0; row < kPanelRows; ++row) {
      uint8_t zero_codes[kMaxRowBytes] = {};
      uint8_t zero_scales[kMaxRowScales] = {};
      const uint8_t* codes = zero_codes;
      const uint8_t* scales = zero_scales;
      if (rows[row].codes != nullptr) {
        codes = rows[row].codes + format.code_bytes(first);
        if (format.has_scales) scales = rows[row].scales + format.scale_bytes(first);
        if (length < kChunkK) {
          std::memcpy(zero_codes, codes, static_cast<size_t>(format.code_bytes(length)));
          codes = zero_codes;
          if (format.has_scales) {
            std::memcpy(zero_scales, scales, static_cast<size_t>(format.scale_bytes(length)));
            scales = zero_scales;
          }
        }
      }
      pack_row(weight_format, codes, scales, row, chunk);
    }
  }
}

bool find_nan_scale(int32_t weight_format, int64_t k, const SourceRow& row,
                    int64_t* column) noexcept {
  const BlockFormat format = block_format(weight_format);
  const int64_t count = format.scale_bytes(k);
  // Counting all of them vectorizes, looking for the first does not, and there is none as a rule.
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) found += block_scale_is_nan(format, row.scales[i]) ? 1 : 0;
  if (found == 0) return false;
  *column = 0;
  while (!block_scale_is_nan(format, row.scales[*column])) ++*column;
  return true;
}

}  // namespace moe4j
