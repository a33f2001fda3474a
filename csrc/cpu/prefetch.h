// Asks the memory for rows whose turn comes soon, where rows are taken in no order that it could guess.
#pragma once

#include <cstdint>

#include "../common/views.h"

namespace salt {

inline void prefetch_row(const MatrixView& matrix, int64_t row) {
  const char* begin = static_cast<const char*>(matrix.row(row));
  for (int64_t byte = 0; byte < matrix.cols * element_size(matrix.dtype); byte += 64) {
    __builtin_prefetch(begin + byte, 0, 2);
  }
}

}  // namespace salt
