#include <torch/csrc/stable/library.h>

#include "../ops/csr_matmul.h"
#include "combine.h"
#include "csr_indices.h"

namespace salt::cuda {
namespace {

constexpr int kThreads = 128;

// One warp per entry: the inner product of its row of lhs and its row of rhs. Rows are found by bisection.
template <class Element, class Result>
__global__ void __launch_bounds__(kThreads)
    sample_products(CsrView csr, MatrixView lhs, MatrixView rhs, Result* values) {
  for (int64_t e = warp_of_grid(); e < csr.nnz; e += warps_of_grid()) {
    int64_t row = 0;
    for (int64_t above = csr.rows; above - row > 1;) {
      const int64_t middle = row + (above - row) / 2;
      (csr.crow[middle] <= e ? row : above) = middle;
    }
    const Element* left = static_cast<const Element*>(lhs.row(row));
    const Element* right = static_cast<const Element*>(rhs.row(csr.col[e]));
    double sum = 0;
    for (int64_t d = lane_index(); d < lhs.cols; d += kWarpSize) {
      sum = fma(to_double(left[d]), to_double(right[d]), sum);
    }
    sum = warp_reduce(sum, Sum{});
    if (lane_index() == 0) {
      values[e] = static_cast<Result>(sum);
    }
  }
}

Tensor csr_matmul(const Tensor& crow, const Tensor& col, const Tensor& values, const Tensor& dense) {
  validate_csr_matmul(crow, col, values, dense);
  const Context context(dense);
  const Tensor value_dense = torch::stable::contiguous(values);
  const Tensor dense_rows = with_dense_rows(dense);
  const MatrixView dense_view = view_of(dense_rows, "dense");
  const PackedCsr csr = checked_csr(context, crow, col, dense.size(0));
  Tensor out = torch::stable::new_empty(dense, {csr.rows, dense.size(1)});
  const DType value_dtype = dtype_of(values, "values");
  const bool wide = dense_view.dtype == DType::kFloat64 || value_dtype == DType::kFloat64;
  with_element(value_dtype, [&]<class Weight>() {
    const auto* weights = static_cast<const Weight*>(value_dense.const_data_ptr());
    if (wide) {
      combine_converted<double>(context, csr, weights, dense_view, out.mutable_data_ptr());
    } else {
      combine_converted<float>(context, csr, weights, dense_view, out.mutable_data_ptr());
    }
  });
  return out;
}

Tensor csr_sampled_matmul(const Tensor& crow, const Tensor& col, const Tensor& lhs, const Tensor& rhs) {
  validate_csr_sampled_matmul(crow, col, lhs, rhs);
  const Context context(lhs);
  const Tensor lhs_rows = with_dense_rows(lhs);
  const Tensor rhs_rows = with_dense_rows(rhs);
  const MatrixView lhs_view = view_of(lhs_rows, "lhs");
  const MatrixView rhs_view = view_of(rhs_rows, "rhs");
  const PackedCsr csr = checked_csr(context, crow, col, rhs.size(0));
  const bool wide = lhs_view.dtype == DType::kFloat64;
  Tensor values = torch::stable::new_empty(lhs, {csr.nnz}, wide ? ScalarType::Double : ScalarType::Float);
  with_element(lhs_view.dtype, [&]<class Element>() {
    using Result = std::conditional_t<sizeof(Element) == 8, double, float>;
    launch(context, sample_products<Element, Result>, {blocks_for(csr.nnz, kThreads / kWarpSize), kThreads}, csr,
           lhs_view, rhs_view, static_cast<Result*>(values.mutable_data_ptr()));
  });
  return values;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, m) {
  m.impl("csr_matmul", TORCH_BOX(&csr_matmul));
  m.impl("_csr_sampled_matmul", TORCH_BOX(&csr_sampled_matmul));
}

}  // namespace salt::cuda
