#include "csr_indices.h"

#include "parallel.h"

namespace salt {
namespace {

// Whether row r's columns ascend strictly within range.
bool row_is_canonical(const CsrView& csr, int64_t row) {
  int64_t previous = -1;
  for (int64_t e = csr.crow[row]; e < csr.crow[row + 1]; ++e) {
    if (csr.col[e] <= previous || csr.col[e] >= csr.cols) {
      return false;
    }
    previous = csr.col[e];
  }
  return true;
}

}  // namespace

PackedCsr checked_csr(const Tensor& crow_indices, const Tensor& col_indices, int64_t columns) {
  PackedCsr csr(crow_indices, col_indices, columns);
  SALT_CHECK(csr.crow[0] == 0, "crow_indices: found ", csr.crow[0], " at the start, expected 0");
  SALT_CHECK(csr.crow[csr.rows] == csr.nnz, "crow_indices: found ", csr.crow[csr.rows], " at the end, expected ",
             csr.nnz, " (the length of col_indices)");
  for (int64_t row = 0; row < csr.rows; ++row) {
    SALT_CHECK(csr.crow[row] <= csr.crow[row + 1], "crow_indices: found a fall after row ", row,
               ", expected numbers that never fall");
  }
  Least bad_row;
  share_evenly(threads_for(csr.nnz), csr.rows, [&](int64_t row) {
    if (!row_is_canonical(csr, row)) {
      bad_row.tell(row);
    }
  });
  SALT_CHECK(bad_row.value() >= csr.rows, "col_indices: found columns of row ", bad_row.value(),
             " that are out of order, repeated or out of range, expected strictly ascending columns in 0..",
             csr.cols - 1);
  return csr;
}

}  // namespace salt
