// lstsq_weights: the weights w with which each query is a combination of its anchors (Lee et al. 2025, section 3).
//
// Formula       row r with support N (k entries), A = anchors[N] (k x h), q = queries[r]:  w = q pinv(A), so that
//               w B = q X for X = pinv(A) B, the paper's map, whatever B is. X is never formed.
//   p           sample_weights[N] divided by their sum; 1/k where none are given
//   intercept   A and q are taken around the mean p A; w becomes w + p (1 - sum(w)), so that sum(w) = 1
//   scaling     row i of A is scaled by s_i = sqrt(k p_i), and w_i by s_i afterwards
//   ridge       lambda = ridge * mean(diag(A A^T)) is added to the diagonal of the Gram matrix A A^T
//   rcond       singular values sigma of A with sigma^2 + lambda <= rcond^2 (sigma_max^2 + lambda) count as zero
//               (ridge 0: sigma <= rcond sigma_max, as torch.linalg.pinv). Default max(k, h) * eps of the dtype of
//               queries; float16 and bfloat16 count as float32, since with their own eps every value would be zero
// Shapes        crow_indices [Q+1], col_indices [nnz], queries [Q,h], anchors [K,h], sample_weights [nnz]
//               -> values [nnz]
// Dtypes        queries, anchors alike: float32, float64, float16, bfloat16; sample_weights any of these;
//               indices int64; values as queries
// Accumulator   float64 throughout. The smaller of the k x k and h x h Gram matrices takes Cholesky where a bound on
//               its condition number proves that no singular value is dropped and the result is accurate (float64
//               inputs are refined twice with residuals from A itself); else Householder QR and one-sided Jacobi SVD
//               of A, which see singular values that squaring would drown
// Ties, exact   a query that equals one of its linearly independent anchors gets exactly that unit vector
// Empty         empty rows stay empty; Q = 0, K = 0 or h = 0 are legal (h = 0: all weights 0)
// NaN           non-finite queries, used anchors or sample_weights are an error; so are negative sample_weights, a row
//               of them that sums to 0, and indices that are no canonical CSR (see csr_indices.h)
// Memory        O(threads * (min(k,h)^2 + block)) and a few numbers per row and anchor; a rank-deficient row takes
//               O(k h) more
#pragma once

#include "tensors.h"

namespace salt {

inline void validate_ridge_and_rcond(double ridge, std::optional<double> rcond) {
  check_option(std::isfinite(ridge) && ridge >= 0, "ridge", ridge, "a finite number of at least 0");
  if (rcond) {
    check_option(std::isfinite(*rcond) && *rcond >= 0, "rcond", *rcond, "a finite number of at least 0");
  }
}

inline void validate_lstsq_weights(const Tensor& crow, const Tensor& col, const Tensor& queries, const Tensor& anchors,
                                   const std::optional<Tensor>& sample_weights, double ridge,
                                   std::optional<double> rcond) {
  check_csr(crow, col, queries, "queries");
  check_pair(queries, "queries", anchors, "anchors");
  check_csr_rows(crow, queries, "queries");
  if (sample_weights) {
    check_entries(*sample_weights, "sample_weights", col);
    check_device(queries, "queries", *sample_weights, "sample_weights");
  }
  validate_ridge_and_rcond(ridge, rcond);
}

}  // namespace salt
