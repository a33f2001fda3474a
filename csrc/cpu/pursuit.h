// Orthogonal matching pursuit of one query: the atoms chosen so far, their Cholesky factor, weights and residual.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "../common/views.h"
#include "prefetch.h"
#include "simd/kernels.h"

namespace salt {

class Pursuit {
 public:
  void start(const Kernels& kernels, const void* query, const MatrixView& atoms, int64_t k, double tolerance) {
    limit_ = std::min({k, atoms.rows, atoms.cols});
    query_.resize(static_cast<size_t>(atoms.cols));
    atom_ = query_;
    kernels.widen_f64(atoms.dtype, query, atoms.cols, query_.data());
    residual_ = query_;
    chosen_.clear();
    excluded_.clear();
    weights_.clear();
    projections_.clear();
    factor_.clear();
    residual_norm_ = std::sqrt(kernels.dot(query_.data(), query_.data(), atoms.cols));
    stop_norm_ = std::max(tolerance, kExactFit) * residual_norm_;
    done_ = limit_ == 0 || residual_norm_ <= stop_norm_;
  }

  bool done() const { return done_; }
  bool may_choose(int64_t atom) const { return !std::binary_search(excluded_.begin(), excluded_.end(), atom); }
  const std::vector<double>& residual() const { return residual_; }
  const std::vector<int64_t>& chosen() const { return chosen_; }
  const std::vector<double>& weights() const { return weights_; }

  // Takes the atom of the largest |<residual, atom>| (-1: none is left). `noise` is what rounding alone can make of
  // the correlation of two orthogonal unit vectors in the arithmetic that chose: at or below it nothing is left to
  // gain.
  void take(const Kernels& kernels, const MatrixView& atoms, int64_t atom, double noise) {
    if (atom < 0) {
      done_ = true;
      return;
    }
    const int64_t width = atoms.cols;
    kernels.widen_f64(atoms.dtype, atoms.row(atom), width, atom_.data());
    const double squared = kernels.dot(atom_.data(), atom_.data(), width);
    const double correlation = std::abs(kernels.dot(atom_.data(), residual_.data(), width));
    if (correlation <= noise * std::sqrt(squared) * residual_norm_) {
      done_ = true;
      return;
    }
    excluded_.insert(std::lower_bound(excluded_.begin(), excluded_.end(), atom), atom);
    if (!extend_factor(kernels, atoms, squared)) {
      return;  // it lies in the span of the chosen: excluded, and the next best is tried
    }
    chosen_.push_back(atom);
    projections_.push_back(kernels.dot(atom_.data(), query_.data(), width));
    refit(kernels, atoms);
    done_ = static_cast<int64_t>(chosen_.size()) == limit_ || residual_norm_ <= stop_norm_;
  }

 private:
  static constexpr double kExactFit = 1e-12;    // relative residual below which the fit is exact but for rounding
  static constexpr double kIndependent = 1e-6;  // relative distance from the span of the chosen

  double* factor_row(size_t i) { return factor_.data() + i * (i + 1) / 2; }

  // Adds the row of atom_ to the Cholesky factor of the chosen atoms' Gram matrix (packed by rows).
  bool extend_factor(const Kernels& kernels, const MatrixView& atoms, double squared) {
    const size_t n = chosen_.size();
    factor_.resize((n + 1) * (n + 2) / 2);
    double* row = factor_row(n);
    for (size_t i = 0; i < n; ++i) {
      prefetch_row(atoms, chosen_[std::min(i + 2, n - 1)]);
      const double product = kernels.row_dot(atoms.dtype, atoms.row(chosen_[i]), atom_.data(), atoms.cols);
      const double* earlier = factor_row(i);
      row[i] = (product - kernels.dot(row, earlier, static_cast<int64_t>(i))) / earlier[i];
    }
    const double pivot = squared - kernels.dot(row, row, static_cast<int64_t>(n));
    if (!(pivot > kIndependent * kIndependent * squared)) {
      return false;
    }
    row[n] = std::sqrt(pivot);
    return true;
  }

  void refit(const Kernels& kernels, const MatrixView& atoms) {
    const size_t n = chosen_.size();
    weights_ = projections_;
    for (size_t i = 0; i < n; ++i) {
      const double* row = factor_row(i);
      weights_[i] = (weights_[i] - kernels.dot(row, weights_.data(), static_cast<int64_t>(i))) / row[i];
    }
    for (size_t i = n; i-- > 0;) {
      const double* row = factor_row(i);
      weights_[i] /= row[i];
      kernels.axpy_f64(DType::kFloat64, -weights_[i], row, static_cast<int64_t>(i), weights_.data());
    }
    residual_ = query_;
    for (size_t i = 0; i < n; ++i) {
      kernels.axpy_f64(atoms.dtype, -weights_[i], atoms.row(chosen_[i]), atoms.cols, residual_.data());
    }
    residual_norm_ = std::sqrt(kernels.dot(residual_.data(), residual_.data(), atoms.cols));
  }

  int64_t limit_ = 0;
  double residual_norm_ = 0;
  double stop_norm_ = 0;
  bool done_ = true;
  std::vector<double> query_;
  std::vector<double> residual_;
  std::vector<double> atom_;
  std::vector<int64_t> chosen_;
  std::vector<int64_t> excluded_;  // chosen or dependent, ascending
  std::vector<double> weights_;
  std::vector<double> projections_;
  std::vector<double> factor_;
};

}  // namespace salt
