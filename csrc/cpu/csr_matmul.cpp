#include "../ops/csr_matmul.h"

#include <torch/csrc/stable/library.h>

#include "combine.h"
#include "csr_indices.h"
#include "parallel.h"
#include "row_groups.h"

namespace salt {
namespace {

template <class T>
void matmul(const CsrView& csr, const Tensor& values, const MatrixView& dense, std::byte* out) {
  const Kernels& kernel = kernels();
  const DType value_dtype = dtype_of(values, "values");
  const std::byte* value_data = static_cast<const std::byte*>(values.const_data_ptr());
  const int64_t row_bytes = dense.cols * element_size(dense.dtype);
  const std::vector<int64_t> order = rows_by_neighbours(csr);
  share_tasks(threads_for(static_cast<double>(csr.nnz) * dense.cols), csr.rows, 32, [&](Tasks& tasks) {
    RowCombiner<T> combiner(kernel);
    tasks.each([&](int64_t i) {
      const int64_t row = order[static_cast<size_t>(i)];
      const int64_t k = csr.size(row);
      (kernel.*Arithmetic<T>::widen)(value_dtype, value_data + csr.begin(row) * element_size(value_dtype), k,
                                     combiner.weights(k));
      combiner.combine(dense, csr.row(row), k, out + row * row_bytes);
    });
  });
}

}  // namespace

Tensor csr_matmul_cpu(const Tensor& crow, const Tensor& col, const Tensor& values, const Tensor& dense) {
  validate_csr_matmul(crow, col, values, dense);
  const Tensor value_dense = packed(values);
  const Tensor dense_rows = with_dense_rows(dense);
  const MatrixView dense_view = view_of(dense_rows, "dense");
  const PackedCsr csr = checked_csr(crow, col, dense.size(0));
  Tensor out = new_tensor(dense, {csr.rows, dense.size(1)});
  std::byte* data = static_cast<std::byte*>(out.mutable_data_ptr());
  if (dense_view.dtype == DType::kFloat64 || dtype_of(values, "values") == DType::kFloat64) {
    matmul<double>(csr, value_dense, dense_view, data);
  } else {
    matmul<float>(csr, value_dense, dense_view, data);
  }
  return out;
}

Tensor csr_sampled_matmul_cpu(const Tensor& crow, const Tensor& col, const Tensor& lhs, const Tensor& rhs) {
  validate_csr_sampled_matmul(crow, col, lhs, rhs);
  const Tensor lhs_rows = with_dense_rows(lhs);
  const Tensor rhs_rows = with_dense_rows(rhs);
  const MatrixView lhs_view = view_of(lhs_rows, "lhs");
  const MatrixView rhs_view = view_of(rhs_rows, "rhs");
  const PackedCsr csr = checked_csr(crow, col, rhs.size(0));
  const bool wide = lhs_view.dtype == DType::kFloat64;
  Tensor values = new_tensor(lhs, {csr.nnz}, wide ? ScalarType::Double : ScalarType::Float);
  void* data = values.mutable_data_ptr();
  const Kernels& kernel = kernels();
  const size_t width = static_cast<size_t>(lhs_view.cols);
  share_tasks(threads_for(static_cast<double>(csr.nnz) * lhs_view.cols), csr.rows, 64, [&](Tasks& tasks) {
    std::vector<double> left(width);
    std::vector<double> right(width);
    tasks.each([&](int64_t row) {
      kernel.widen_f64(lhs_view.dtype, lhs_view.row(row), lhs_view.cols, left.data());
      for (int64_t e = csr.crow[row]; e < csr.crow[row + 1]; ++e) {
        kernel.widen_f64(rhs_view.dtype, rhs_view.row(csr.col[e]), rhs_view.cols, right.data());
        const double value = kernel.dot(left.data(), right.data(), lhs_view.cols);
        if (wide) {
          static_cast<double*>(data)[e] = value;
        } else {
          static_cast<float*>(data)[e] = static_cast<float>(value);
        }
      }
    });
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) {
  m.impl("csr_matmul", TORCH_BOX(&csr_matmul_cpu));
  m.impl("_csr_sampled_matmul", TORCH_BOX(&csr_sampled_matmul_cpu));
}

}  // namespace salt
