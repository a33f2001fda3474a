#include "cholesky.h"

#include <algorithm>
#include <cmath>

namespace salt {

double frobenius_norm(const Kernels& kernels, int64_t n, const double* matrix) {
  double squared = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double* row = matrix + i * n;
    squared += 2 * kernels.dot(row, row, i) + row[i] * row[i];
  }
  return std::sqrt(squared);
}

bool cholesky_factor(const Kernels& kernels, int64_t n, double* matrix) {
  for (int64_t i = 0; i < n; ++i) {
    double* row = matrix + i * n;
    for (int64_t j = 0; j < i; ++j) {
      const double* other = matrix + j * n;
      row[j] = (row[j] - kernels.dot(row, other, j)) / other[j];
    }
    const double pivot = row[i] - kernels.dot(row, row, i);
    if (!(pivot > 0)) {
      return false;
    }
    row[i] = std::sqrt(pivot);
  }
  return true;
}

double inverse_trace(const Kernels& kernels, int64_t n, const double* factor, std::vector<double>& workspace) {
  workspace.resize(std::max(workspace.size(), static_cast<size_t>(n)));
  double* column = workspace.data();  // of L^-1; its inner products run over adjacent elements
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    column[i] = 1 / factor[i * n + i];
    sum += column[i] * column[i];
    for (int64_t r = i + 1; r < n; ++r) {
      const double* row = factor + r * n;
      column[r] = -kernels.dot(row + i, column + i, r - i) / row[r];
      sum += column[r] * column[r];
    }
  }
  return sum;
}

void cholesky_solve(const Kernels& kernels, int64_t n, const double* factor, double* x) {
  for (int64_t i = 0; i < n; ++i) {
    const double* row = factor + i * n;
    x[i] = (x[i] - kernels.dot(row, x, i)) / row[i];
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    const double* row = factor + i * n;
    x[i] /= row[i];
    kernels.axpy_f64(DType::kFloat64, -x[i], row, i, x);
  }
}

}  // namespace salt
