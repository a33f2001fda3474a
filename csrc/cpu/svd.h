// Minimum-norm least squares that sees small singular values: Householder QR, then one-sided Jacobi on the triangle.
//
// The Gram matrix squares the condition number, so below sqrt(eps) * sigma_max it cannot tell a singular value from
// zero. One-sided Jacobi works on the rows themselves and finds each singular value to about eps * sigma_max (Demmel &
// Veselic 1992). It costs about ten times a Cholesky solve; only rows that fail the condition test come here.
#pragma once

#include <cstdint>
#include <vector>

#include "simd/kernels.h"

namespace salt {

class SvdSolver {
 public:
  explicit SvdSolver(const Kernels& kernels) : kernels_(kernels) {}

  // Room for n vectors of length m >= n, one after another; fill it, then call solve.
  double* prepare(int64_t n, int64_t m);

  // The prepared vectors are the columns of M (m x n). With M = U S V^T, gains g = s / (s^2 + ridge) for the values
  // that s^2 + ridge > rcond^2 (s_max^2 + ridge) keeps, 0 for the others:
  //   transposed = true:   out (length n) = V g U^T rhs, rhs of length m
  //   transposed = false:  out (length m) = U g V^T rhs, rhs of length n
  void solve(const double* rhs, bool transposed, double ridge, double rcond, double* out);

 private:
  void factorise();
  void diagonalise();
  void reflect(int64_t j, double* x) const;  // x = (I - 2 v v^T) x for reflector j, x of length m

  const Kernels& kernels_;
  int64_t n_ = 0;
  int64_t m_ = 0;
  std::vector<double> vectors_;    // n x m; below the diagonal of R: the unit reflectors
  std::vector<double> triangle_;   // n x n: column j of R, then of U S
  std::vector<double> right_;      // n x n: column j of V
  std::vector<double> workspace_;  // m
};

}  // namespace salt
