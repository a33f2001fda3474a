#include "../ops/lstsq_weights.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <vector>

#include "csr_indices.h"
#include "directions.h"
#include "group_solver.h"
#include "parallel.h"

namespace salt {
namespace {

// sample_weights as float64, checked row by row.
std::vector<double> checked_sample_weights(const CsrView& csr, const void* data, DType dtype) {
  std::vector<double> weights(static_cast<size_t>(csr.nnz));
  kernels().widen_f64(dtype, data, csr.nnz, weights.data());
  for (int64_t row = 0; row < csr.rows; ++row) {
    double sum = 0;
    for (int64_t e = csr.crow[row]; e < csr.crow[row + 1]; ++e) {
      const double weight = weights[static_cast<size_t>(e)];
      SALT_CHECK(std::isfinite(weight) && weight >= 0, "sample_weights: found ", weight, " in row ", row,
                 ", expected finite numbers of at least 0");
      sum += weight;
    }
    SALT_CHECK(sum > 0 || csr.size(row) == 0, "sample_weights: found only zeros in row ", row,
               ", expected a positive sum");
  }
  return weights;
}

// Only rows that some support names are read, so only these must be finite.
void check_used_rows(const CsrView& csr, const MatrixView& anchors) {
  std::vector<char> used(static_cast<size_t>(anchors.rows), 0);
  for (int64_t e = 0; e < csr.nnz; ++e) {
    used[static_cast<size_t>(csr.col[e])] = 1;
  }
  check_finite_rows(anchors, "anchors", used);
}

// Multiply-adds of the Gram matrices, if all rows were equally long.
double solve_size(const CsrView& csr, int64_t width) {
  const double nnz = static_cast<double>(csr.nnz);
  return nnz * static_cast<double>(width) * (1 + nnz / static_cast<double>(std::max<int64_t>(1, csr.rows)));
}

}  // namespace

Tensor lstsq_weights_cpu(const Tensor& crow, const Tensor& col, const Tensor& queries, const Tensor& anchors,
                         const std::optional<Tensor>& sample_weights, double ridge, bool intercept,
                         std::optional<double> rcond) {
  validate_lstsq_weights(crow, col, queries, anchors, sample_weights, ridge, rcond);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor anchor_rows = with_dense_rows(anchors);
  const MatrixView query_view = view_of(query_rows, "queries");
  const MatrixView anchor_view = view_of(anchor_rows, "anchors");
  const PackedCsr csr = checked_csr(crow, col, anchors.size(0));
  check_finite(query_view, "queries");
  check_used_rows(csr, anchor_view);
  std::vector<double> p;
  if (sample_weights) {
    const Tensor dense = packed(*sample_weights);
    p = checked_sample_weights(csr, dense.const_data_ptr(), dtype_of(dense, "sample_weights"));
  }

  Tensor values = new_tensor(queries, {csr.nnz});
  std::byte* value_data = static_cast<std::byte*>(values.mutable_data_ptr());
  const Kernels& kernel = kernels();
  const RowGroups groups = group_rows(csr);
  const int threads = threads_for(solve_size(csr, anchor_view.cols));
  share_tasks(threads, groups.count(), 1, [&](Tasks& tasks) {
    GroupSolver solver(kernel, anchor_view, {ridge, intercept, rcond.value_or(-1)});
    tasks.each([&](int64_t group) {
      solver.run(
          csr, groups.rows(group), p.empty() ? nullptr : p.data(), [&](int64_t row) { return query_view.row(row); },
          [&](int64_t row, const double* weights) {
            kernel.narrow_f64(query_view.dtype, weights, csr.size(row),
                              value_data + csr.begin(row) * element_size(query_view.dtype));
          });
    });
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("lstsq_weights", TORCH_BOX(&lstsq_weights_cpu)); }

}  // namespace salt
