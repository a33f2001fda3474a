#include "csr_indices.h"
#include "kernels/block.cuh"
#include "kernels/findings.cuh"
#include "runtime/launch.h"

namespace salt::cuda {
namespace {

constexpr int kThreads = 256;

// What is wrong, row by row; the lowest row counts. kNothingFound: nothing.
struct Findings {
  long long fall;     // crow_indices fall after this row
  long long columns;  // columns of this row are no strictly ascending numbers in range
  long long first;    // crow_indices[0]
  long long last;     // crow_indices[rows]
};

__global__ void start(CsrView csr, Findings* findings) {
  *findings = {kNothingFound, kNothingFound, csr.crow[0], csr.crow[csr.rows]};
}

// One warp per row. A row whose bounds are wrong is not followed.
__global__ void look(CsrView csr, Findings* findings) {
  for (int64_t row = warp_of_grid(); row < csr.rows; row += warps_of_grid()) {
    const int64_t begin = csr.crow[row];
    const int64_t end = csr.crow[row + 1];
    if (begin > end) {
      atomicMin(&findings->fall, static_cast<long long>(row));
    } else if (begin >= 0 && end <= csr.nnz) {
      for (int64_t e = begin + lane_index(); e < end; e += kWarpSize) {
        const int64_t previous = e == begin ? -1 : csr.col[e - 1];
        if (csr.col[e] <= previous || csr.col[e] >= csr.cols) {
          atomicMin(&findings->columns, static_cast<long long>(row));
        }
      }
    }
  }
}

}  // namespace

PackedCsr checked_csr(const Context& context, const Tensor& crow_indices, const Tensor& col_indices, int64_t columns) {
  PackedCsr csr(crow_indices, col_indices, columns);
  if (context.capturing()) {
    return csr;
  }
  const Buffer<Findings> findings = context.allocate<Findings>(1);
  launch(context, start, {1, 1}, csr, findings.data());
  launch(context, look, {blocks_for(csr.rows, kThreads / kWarpSize), kThreads}, csr, findings.data());
  const Findings found = context.read(findings.data());
  SALT_CHECK(found.first == 0, "crow_indices: found ", found.first, " at the start, expected 0");
  SALT_CHECK(found.last == csr.nnz, "crow_indices: found ", found.last, " at the end, expected ", csr.nnz,
             " (the length of col_indices)");
  SALT_CHECK(found.fall == kNothingFound, "crow_indices: found a fall after row ", found.fall,
             ", expected numbers that never fall");
  SALT_CHECK(found.columns == kNothingFound, "col_indices: found columns of row ", found.columns,
             " that are out of order, repeated or out of range, expected strictly ascending columns in 0..",
             csr.cols - 1);
  return csr;
}

}  // namespace salt::cuda
