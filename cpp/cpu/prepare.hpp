// From a checkpoint's weights to panels (panel_layout.hpp).
#pragma once

#include <cstdint>

#include "moe4j/moe4j.h"
#include "support/status.hpp"

namespace moe4j {

/** A row of a matrix in a checkpoint's layout; null codes stand for a row of zeros. */
struct SourceRow {
  const uint8_t* codes;
  const uint8_t* scales;
};

SourceRow source_row(const moe4j_matrix& matrix, int64_t row) noexcept;

/** Packs 32 rows of K elements into one panel, padding included. */
void pack_panel(int32_t weight_format, int64_t k, const SourceRow* rows, uint8_t* panel) noexcept;

/** Whether a row has a NaN among its block scales; `column` is the first one's. */
bool find_nan_scale(int32_t weight_format, int64_t k, const SourceRow& row,
                    int64_t* column) noexcept;

}  // namespace moe4j
