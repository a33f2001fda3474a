#include <torch/csrc/stable/library.h>

#include "../ops/lstsq_weights.h"
#include "convert.h"
#include "csr_indices.h"
#include "kernels/row_checks.cuh"
#include "row_solver.h"
#include "runtime/launch.h"
#include "scores.h"

namespace salt::cuda {
namespace {

// Refuses what the contract refuses beside bad indices and queries; returns the length of the longest row. Waits for
// the stream; while a CUDA graph is recorded, which forbids that, nothing is refused and the length is a bound.
int64_t check_rows(const Context& context, const CsrView& csr, const MatrixView& anchors,
                   const double* sample_weights) {
  if (context.capturing()) {
    return std::min(csr.nnz, anchors.rows);
  }
  const Buffer<RowFindings> findings = context.allocate<RowFindings>(1);
  const Buffer<unsigned char> used = context.allocate_zeros<unsigned char>(anchors.rows);
  launch(context, start_findings, {1, 1}, findings.data());
  launch(context, look_at_rows, {blocks_for(csr.rows, kCheckThreads / kWarpSize), kCheckThreads}, csr, sample_weights,
         used.data(), findings.data());
  with_element(anchors.dtype, [&]<class Element>() {
    launch(context, look_at_used_rows<Element>, {blocks_for(anchors.rows, kCheckThreads / kWarpSize), kCheckThreads},
           anchors, used.data(), findings.data());
  });
  const RowFindings found = context.read(findings.data());
  SALT_CHECK(found.bad_anchor == kNothingFound, "anchors: found NaN or infinity in row ", found.bad_anchor,
             ", expected finite values");
  if (found.bad_weight_row <= found.zero_row && found.bad_weight_row != kNothingFound) {
    input_error("sample_weights: found ", context.read(sample_weights + found.bad_weight), " in row ",
                found.bad_weight_row, ", expected finite numbers of at least 0");
  }
  SALT_CHECK(found.zero_row == kNothingFound, "sample_weights: found only zeros in row ", found.zero_row,
             ", expected a positive sum");
  return found.longest;
}

Tensor lstsq_weights(const Tensor& crow, const Tensor& col, const Tensor& queries, const Tensor& anchors,
                     const std::optional<Tensor>& sample_weights, double ridge, bool intercept,
                     std::optional<double> rcond) {
  validate_lstsq_weights(crow, col, queries, anchors, sample_weights, ridge, rcond);
  const Context context(queries);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor anchor_rows = with_dense_rows(anchors);
  const MatrixView query_view = view_of(query_rows, "queries");
  const MatrixView anchor_view = view_of(anchor_rows, "anchors");
  const PackedCsr csr = checked_csr(context, crow, col, anchors.size(0));
  check_finite(context, query_view, "queries");
  Buffer<double> p;
  if (sample_weights) {
    const Tensor dense = torch::stable::contiguous(*sample_weights);
    p = context.allocate<double>(csr.nnz);
    with_element(dtype_of(dense, "sample_weights"), [&]<class Element>() {
      convert(context, static_cast<const Element*>(dense.const_data_ptr()), csr.nnz, p.data());
    });
  }
  const int64_t longest = check_rows(context, csr, anchor_view, p.data());

  Tensor values = torch::stable::new_empty(queries, {csr.nnz});
  const LstsqOptions options{ridge, intercept, rcond.value_or(-1)};
  if (query_view.dtype == DType::kFloat64) {
    solve_rows(context, csr, longest, query_view, anchor_view, p.data(), options,
               static_cast<double*>(values.mutable_data_ptr()));
    return values;
  }
  const Buffer<double> weights = context.allocate<double>(csr.nnz);
  solve_rows(context, csr, longest, query_view, anchor_view, p.data(), options, weights.data());
  with_element(query_view.dtype, [&]<class Element>() {
    convert(context, weights.data(), csr.nnz, static_cast<Element*>(values.mutable_data_ptr()));
  });
  return values;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, m) { m.impl("lstsq_weights", TORCH_BOX(&lstsq_weights)); }

}  // namespace salt::cuda
