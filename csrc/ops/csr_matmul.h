// csr_matmul: applies a plan to a table; _csr_sampled_matmul: its gradient in the values.
//
// Formula       out[q, :] = sum over the entries e of row q of values[e] * dense[col_indices[e], :]
// Shapes        crow_indices [Q+1], col_indices [nnz], values [nnz], dense [K,H] -> [Q,H]
// Dtypes        dense and values each float32, float64, float16 or bfloat16, independently; indices int64;
//               the result has the dtype of dense
// Accumulator   float64 where values or dense are float64, else float32; entries in CSR order, one rounding at the end.
//               A row of one entry with value 1 is a bit-exact copy
// Empty         empty rows are zero; Q = 0, K = 0 or H = 0 are legal
// NaN           non-finite elements of values and dense propagate, as in torch.matmul; bad indices are an error
//               (see csr_indices.h)
// Gradients     in values: _csr_sampled_matmul, values[e] = lhs[row of e, :] . rhs[col_indices[e], :], float64
//               accumulation, result float32 (float64 for float64 inputs); in dense: csr_matmul of the transpose
#pragma once

#include "tensors.h"

namespace salt {

inline void validate_csr_matmul(const Tensor& crow, const Tensor& col, const Tensor& values, const Tensor& dense) {
  check_csr(crow, col, dense, "dense");
  check_device(dense, "dense", values, "values");
  check_entries(values, "values", col);
  check_matrix(dense, "dense");
}

inline void validate_csr_sampled_matmul(const Tensor& crow, const Tensor& col, const Tensor& lhs, const Tensor& rhs) {
  check_csr(crow, col, rhs, "rhs");
  check_pair(lhs, "lhs", rhs, "rhs");
  check_csr_rows(crow, lhs, "lhs");
}

}  // namespace salt
