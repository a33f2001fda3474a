#include "svd.h"

#include <algorithm>
#include <cmath>

namespace salt {
namespace {

constexpr double kEpsilon = 2.220446049250313e-16;
constexpr int kMaxSweeps = 60;  // ten suffice in practice; the bound only rules out an endless loop

}  // namespace

double* SvdSolver::prepare(int64_t n, int64_t m) {
  n_ = n;
  m_ = m;
  vectors_.resize(static_cast<size_t>(n * m));
  return vectors_.data();
}

void SvdSolver::reflect(int64_t j, double* x) const {
  const double* v = vectors_.data() + j * m_ + j;
  const double projection = kernels_.dot(v, x + j, m_ - j);
  kernels_.axpy_f64(DType::kFloat64, -2 * projection, v, m_ - j, x + j);
}

// M = Q R: column j of R goes to triangle_, its unit reflector v replaces the vector from position j on (v = 0: none).
void SvdSolver::factorise() {
  triangle_.assign(static_cast<size_t>(n_ * n_), 0.0);
  for (int64_t j = 0; j < n_; ++j) {
    double* x = vectors_.data() + j * m_;
    double* tail = x + j;
    const double norm = std::sqrt(kernels_.dot(tail, tail, m_ - j));
    double* column = triangle_.data() + j * n_;
    std::copy(x, x + j, column);
    column[j] = tail[0] > 0 ? -norm : norm;
    tail[0] -= column[j];
    const double length = std::sqrt(kernels_.dot(tail, tail, m_ - j));
    for (int64_t i = 0; i < m_ - j; ++i) {
      tail[i] = length > 0 ? tail[i] / length : 0.0;
    }
    for (int64_t later = j + 1; later < n_; ++later) {
      reflect(j, vectors_.data() + later * m_);
    }
  }
}

// R V = U S: rotates pairs of columns until all are orthogonal to working precision.
void SvdSolver::diagonalise() {
  right_.assign(static_cast<size_t>(n_ * n_), 0.0);
  for (int64_t i = 0; i < n_; ++i) {
    right_[static_cast<size_t>(i * n_ + i)] = 1.0;
  }
  double largest = 0;
  for (int64_t i = 0; i < n_; ++i) {
    const double* column = triangle_.data() + i * n_;
    largest = std::max(largest, kernels_.dot(column, column, n_));
  }
  // A column this short is rounding error of the longest: its direction means nothing.
  const double negligible = largest * kEpsilon * kEpsilon * 1e-4;
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    bool rotated = false;
    for (int64_t i = 0; i + 1 < n_; ++i) {
      for (int64_t j = i + 1; j < n_; ++j) {
        double* x = triangle_.data() + i * n_;
        double* y = triangle_.data() + j * n_;
        const double xx = kernels_.dot(x, x, n_);
        const double yy = kernels_.dot(y, y, n_);
        const double xy = kernels_.dot(x, y, n_);
        if (xx <= negligible || yy <= negligible || std::abs(xy) <= 4 * kEpsilon * std::sqrt(xx) * std::sqrt(yy)) {
          continue;
        }
        rotated = true;
        const double zeta = (yy - xx) / (2 * xy);
        const double t = (zeta >= 0 ? 1.0 : -1.0) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
        const double c = 1 / std::sqrt(1 + t * t);
        kernels_.rotate(x, y, n_, c, c * t);
        kernels_.rotate(right_.data() + i * n_, right_.data() + j * n_, n_, c, c * t);
      }
    }
    if (!rotated) {
      return;
    }
  }
}

void SvdSolver::solve(const double* rhs, bool transposed, double ridge, double rcond, double* out) {
  factorise();
  diagonalise();
  const int64_t rhs_length = transposed ? m_ : n_;
  const int64_t out_length = transposed ? n_ : m_;
  workspace_.assign(rhs, rhs + rhs_length);
  if (transposed) {
    for (int64_t j = 0; j < n_; ++j) {
      reflect(j, workspace_.data());  // Q^T rhs; its first n elements meet R
    }
  }
  std::vector<double> squared(static_cast<size_t>(n_));
  double largest = 0;
  for (int64_t i = 0; i < n_; ++i) {
    const double* column = triangle_.data() + i * n_;
    squared[static_cast<size_t>(i)] = kernels_.dot(column, column, n_);
    largest = std::max(largest, squared[static_cast<size_t>(i)]);
  }
  std::fill(out, out + out_length, 0.0);
  const double floor = rcond * rcond * (largest + ridge);
  for (int64_t i = 0; i < n_; ++i) {
    const double spectrum = squared[static_cast<size_t>(i)] + ridge;
    if (!(spectrum > floor)) {
      continue;
    }
    const double* left = triangle_.data() + i * n_;  // s_i u_i
    const double* right = right_.data() + i * n_;
    const double gain = kernels_.dot(transposed ? left : right, workspace_.data(), n_) / spectrum;
    kernels_.axpy_f64(DType::kFloat64, gain, transposed ? right : left, n_, out);
  }
  if (!transposed) {
    for (int64_t j = n_ - 1; j >= 0; --j) {
      reflect(j, out);
    }
  }
}

}  // namespace salt
