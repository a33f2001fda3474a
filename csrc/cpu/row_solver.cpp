#include "row_solver.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace salt {
namespace {

// Condition numbers of the Gram matrix up to which Cholesky serves. Its weights carry a relative error of about
// condition * 1e-16: 1e-7 for the narrow types; float64 inputs get theirs back by refinement.
constexpr double kMaxCondition = 1e9;
constexpr double kMaxConditionFloat64 = 1e7;
constexpr int kRefinements = 2;
constexpr int64_t kBufferElements = 65536;  // 512 KiB: a chunk of the gathered rows stays in the second-level cache

}  // namespace

void RowSolver::solve(const void* query, const int64_t* support, int64_t k, const double* sample_weights,
                      GroupGram& group, int64_t member, double* weights) {
  support_ = support;
  k_ = k;
  h_ = anchors_.cols;
  n_ = std::min(k_, h_);
  if (k_ == 0) {
    return;
  }
  centre(query, sample_weights);
  accumulate_gram(group, member);
  if (trace_ == 0) {
    std::fill(weights, weights + k_, 0.0);
  } else if (factorise()) {
    if (!is_own_anchor(query, weights)) {
      solve_small(weights);
    }
  } else {
    solve_svd(weights);
  }
  double sum = 0;
  for (int64_t i = 0; i < k_; ++i) {
    weights[i] *= scale_[static_cast<size_t>(i)];
    sum += weights[i];
  }
  if (options_.intercept) {
    for (int64_t i = 0; i < k_; ++i) {
      weights[i] += p_[static_cast<size_t>(i)] * (1 - sum);
    }
  }
}

// Sets p, the scales sqrt(k p), the mean of the anchors and the query around it.
void RowSolver::centre(const void* query, const double* sample_weights) {
  p_.assign(static_cast<size_t>(k_), 1.0 / static_cast<double>(k_));
  scale_.assign(static_cast<size_t>(k_), 1.0);
  weighted_ = sample_weights != nullptr;
  if (weighted_) {
    double sum = 0;
    for (int64_t i = 0; i < k_; ++i) {
      sum += sample_weights[i];
    }
    for (int64_t i = 0; i < k_; ++i) {
      p_[static_cast<size_t>(i)] = sample_weights[i] / sum;
      scale_[static_cast<size_t>(i)] = std::sqrt(static_cast<double>(k_) * p_[static_cast<size_t>(i)]);
    }
  }
  query_.resize(static_cast<size_t>(h_));
  kernels_.widen_f64(anchors_.dtype, query, h_, query_.data());
  if (options_.intercept) {
    centre_.assign(static_cast<size_t>(h_), 0.0);
    for (int64_t i = 0; i < k_; ++i) {
      kernels_.axpy_f64(anchors_.dtype, p_[static_cast<size_t>(i)], anchors_.row(support_[i]), h_, centre_.data());
    }
    kernels_.axpy_f64(DType::kFloat64, -1.0, centre_.data(), h_, query_.data());
  }
}

void RowSolver::load_anchor(int64_t i, int64_t begin, int64_t length, double* out) const {
  kernels_.widen_f64(anchors_.dtype, anchors_.at(support_[i], begin), length, out);
  if (options_.intercept) {
    kernels_.axpy_f64(DType::kFloat64, -1.0, centre_.data() + begin, length, out);
  }
  const double scale = scale_[static_cast<size_t>(i)];
  if (scale != 1.0) {
    for (int64_t d = 0; d < length; ++d) {
      out[d] *= scale;
    }
  }
}

void RowSolver::accumulate_gram(GroupGram& group, int64_t member) {
  ld_ = (n_ + kMatrixLanes) / kMatrixLanes * kMatrixLanes;  // room for the query beside the n columns
  gram_.assign(static_cast<size_t>(n_ * ld_), 0.0);
  rhs_.assign(static_cast<size_t>(ld_), 0.0);
  if (takes_products(k_)) {
    gram_of_group(group, member);
  } else {
    by_anchors() ? gram_of_anchors() : gram_of_columns();
  }
  trace_ = 0;
  for (int64_t i = 0; i < n_; ++i) {
    trace_ += gram_[static_cast<size_t>(i * ld_ + i)];
  }
  lambda_ = options_.ridge * trace_ / static_cast<double>(k_);
  deflation_ = 0;
  if (options_.intercept && by_anchors()) {
    // Centred rows always have the null vector sqrt(p), to which the right-hand side is orthogonal: filling that
    // direction up leaves the solution as it is and lets Cholesky see whether anything else is singular.
    deflation_ = trace_ / static_cast<double>(k_);
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = i; j < n_; ++j) {
        gram_[static_cast<size_t>(i * ld_ + j)] +=
            deflation_ * std::sqrt(p_[static_cast<size_t>(i)] * p_[static_cast<size_t>(j)]);
      }
    }
  }
  for (int64_t i = 0; i < n_; ++i) {
    gram_[static_cast<size_t>(i * ld_ + i)] += lambda_;
  }
}

void RowSolver::gram_of_group(GroupGram& group, int64_t member) {
  group.extract(member, support_, k_, ld_, gram_.data(), rhs_.data());
  for (int64_t i = 0; weighted_ && i < k_; ++i) {
    const double scale = scale_[static_cast<size_t>(i)];
    for (int64_t j = i; j < k_; ++j) {
      gram_[static_cast<size_t>(i * ld_ + j)] *= scale * scale_[static_cast<size_t>(j)];
    }
    rhs_[static_cast<size_t>(i)] *= scale;
  }
}

// Gram = A A^T and rhs = A q, over chunks of the dimensions; the query is one more row.
void RowSolver::gram_of_anchors() {
  const int64_t rows = n_ + 1;
  const int64_t chunk =
      std::clamp<int64_t>(kBufferElements / rows, 128, std::max<int64_t>(128, h_)) / kMatrixLanes * kMatrixLanes;
  const int64_t ld = chunk + kMatrixLanes;  // rows that are a power of two apart would share few sets of the cache
  buffer_.resize(static_cast<size_t>(rows * ld));
  for (int64_t begin = 0; begin < h_; begin += chunk) {
    const int64_t length = std::min(chunk, h_ - begin);
    for (int64_t i = 0; i < k_; ++i) {
      load_anchor(i, begin, length, buffer_.data() + i * ld);
    }
    std::copy_n(query_.data() + begin, length, buffer_.data() + k_ * ld);
    kernels_.gram(buffer_.data(), rows, n_, length, ld, gram_.data(), ld_);
  }
  for (int64_t i = 0; i < n_; ++i) {
    rhs_[static_cast<size_t>(i)] = gram_[static_cast<size_t>(i * ld_ + n_)];
  }
}

// Gram = A^T A and rhs = q, over chunks of the anchors (more anchors than dimensions).
void RowSolver::gram_of_columns() {
  const int64_t chunk = std::clamp<int64_t>(kBufferElements / std::max<int64_t>(1, n_), 16, 256);
  buffer_.resize(static_cast<size_t>(n_ * chunk));
  row_.resize(static_cast<size_t>(h_));
  for (int64_t begin = 0; begin < k_; begin += chunk) {
    const int64_t length = std::min(chunk, k_ - begin);
    for (int64_t i = 0; i < length; ++i) {
      load_anchor(begin + i, 0, h_, row_.data());
      for (int64_t d = 0; d < h_; ++d) {
        buffer_[static_cast<size_t>(d * chunk + i)] = row_[static_cast<size_t>(d)];
      }
    }
    kernels_.gram(buffer_.data(), n_, n_, length, chunk, gram_.data(), ld_);
  }
  std::copy(query_.begin(), query_.end(), rhs_.begin());
}

// Whether Cholesky can be trusted with the row: no singular value is dropped and the weights are accurate.
bool RowSolver::factorise() {
  double squares = 0;  // of all entries: the root bounds the largest eigenvalue
  for (int64_t i = 0; i < n_; ++i) {
    const double* row = gram_.data() + i * ld_ + i;
    squares += row[0] * row[0] + 2 * kernels_.dot(row + 1, row + 1, n_ - i - 1);
  }
  if (!kernels_.cholesky_factor(n_, ld_, gram_.data())) {
    return false;
  }
  const double accurate = anchors_.dtype == DType::kFloat64 ? kMaxConditionFloat64 : kMaxCondition;
  const double enough = std::min(accurate, 1 / (rcond() * rcond()));
  const double largest = std::sqrt(squares);
  workspace_.resize(static_cast<size_t>(2 * ld_));
  return largest * kernels_.inverse_trace_bound(n_, ld_, gram_.data(), workspace_.data()) < enough ||
         largest * kernels_.inverse_trace(n_, ld_, gram_.data(), workspace_.data()) < enough;
}

double RowSolver::rcond() const {
  const double default_rcond = static_cast<double>(std::max(k_, h_)) * rank_epsilon(anchors_.dtype);
  return options_.rcond < 0 ? default_rcond : options_.rcond;
}

// A query that is one of its own, independent anchors is exactly that anchor: no rounding may blur a token's own row.
bool RowSolver::is_own_anchor(const void* query, double* weights) const {
  if (!by_anchors() || lambda_ > 0 || options_.intercept) {
    return false;
  }
  const size_t bytes = static_cast<size_t>(h_ * element_size(anchors_.dtype));
  for (int64_t i = 0; i < k_; ++i) {
    const double scale = scale_[static_cast<size_t>(i)];
    if (scale > 0 && std::memcmp(query, anchors_.row(support_[i]), bytes) == 0) {
      std::fill(weights, weights + k_, 0.0);
      weights[i] = 1 / scale;
      return true;
    }
  }
  return false;
}

void RowSolver::solve_small(double* weights) {
  solution_.resize(static_cast<size_t>(ld_));
  if (anchors_.dtype == DType::kFloat64) {
    refine();
  } else {
    kernels_.cholesky_solve(n_, ld_, gram_.data(), rhs_.data(), solution_.data());
  }
  if (by_anchors()) {
    std::copy_n(solution_.begin(), n_, weights);
  } else {
    weights_of_columns(weights);
  }
}

// Solves for rhs_, which is destroyed, with residuals that are computed from A, not from its Gram matrix.
void RowSolver::refine() {
  row_.resize(static_cast<size_t>(h_));
  step_.resize(static_cast<size_t>(ld_));
  std::fill(solution_.begin(), solution_.end(), 0.0);
  for (int round = 0; round <= kRefinements; ++round) {
    kernels_.cholesky_solve(n_, ld_, gram_.data(), rhs_.data(), step_.data());
    for (int64_t i = 0; i < n_; ++i) {
      solution_[static_cast<size_t>(i)] += step_[static_cast<size_t>(i)];
    }
    if (round < kRefinements) {
      by_anchors() ? residual_of_anchors() : residual_of_columns();
    }
  }
}

// rhs = A (q - A^T y) - lambda y - deflation u (u . y)
void RowSolver::residual_of_anchors() {
  image_ = query_;
  double along = 0;
  for (int64_t i = 0; i < k_; ++i) {
    const double y = solution_[static_cast<size_t>(i)];
    load_anchor(i, 0, h_, row_.data());
    kernels_.axpy_f64(DType::kFloat64, -y, row_.data(), h_, image_.data());
    along += std::sqrt(p_[static_cast<size_t>(i)]) * y;
  }
  for (int64_t i = 0; i < k_; ++i) {
    load_anchor(i, 0, h_, row_.data());
    rhs_[static_cast<size_t>(i)] = kernels_.dot(row_.data(), image_.data(), h_) -
                                   lambda_ * solution_[static_cast<size_t>(i)] -
                                   deflation_ * along * std::sqrt(p_[static_cast<size_t>(i)]);
  }
}

// rhs = q - A^T (A y) - lambda y
void RowSolver::residual_of_columns() {
  std::copy(query_.begin(), query_.end(), rhs_.begin());
  for (int64_t i = 0; i < k_; ++i) {
    load_anchor(i, 0, h_, row_.data());
    const double along = kernels_.dot(row_.data(), solution_.data(), h_);
    kernels_.axpy_f64(DType::kFloat64, -along, row_.data(), h_, rhs_.data());
  }
  kernels_.axpy_f64(DType::kFloat64, -lambda_, solution_.data(), h_, rhs_.data());
}

// w = A y for y = (A^T A + lambda)^-1 q.
void RowSolver::weights_of_columns(double* weights) const {
  row_.resize(static_cast<size_t>(h_));
  for (int64_t i = 0; i < k_; ++i) {
    load_anchor(i, 0, h_, row_.data());
    weights[i] = kernels_.dot(row_.data(), solution_.data(), h_);
  }
}

void RowSolver::solve_svd(double* weights) {
  const int64_t m = std::max(k_, h_);
  double* vectors = svd_.prepare(n_, m);
  row_.resize(static_cast<size_t>(h_));
  for (int64_t i = 0; i < k_; ++i) {
    if (by_anchors()) {
      load_anchor(i, 0, h_, vectors + i * m);
    } else {
      load_anchor(i, 0, h_, row_.data());
      for (int64_t d = 0; d < h_; ++d) {
        vectors[d * m + i] = row_[static_cast<size_t>(d)];
      }
    }
  }
  svd_.solve(query_.data(), by_anchors(), lambda_, rcond(), weights);
}

}  // namespace salt
