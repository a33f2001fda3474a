// Cholesky of one small symmetric matrix, row-major, lower triangle only; everything float64.
#pragma once

#include <cstdint>
#include <vector>

#include "simd/kernels.h"

namespace salt {

// A bound on the largest eigenvalue of the symmetric matrix whose lower triangle is given.
double frobenius_norm(const Kernels& kernels, int64_t n, const double* matrix);

// L L^T in place; false where a pivot is not positive.
bool cholesky_factor(const Kernels& kernels, int64_t n, double* matrix);

// trace((L L^T)^-1) = ||L^-1||_F^2: a bound on one over the smallest eigenvalue. `workspace` grows to n.
double inverse_trace(const Kernels& kernels, int64_t n, const double* factor, std::vector<double>& workspace);

// x = (L L^T)^-1 x.
void cholesky_solve(const Kernels& kernels, int64_t n, const double* factor, double* x);

}  // namespace salt
