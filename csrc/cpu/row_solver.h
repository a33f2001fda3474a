// Solves one row of lstsq_weights (see ops/lstsq_weights.h for the formula); one solver per thread, memory reused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../common/views.h"
#include "aligned.h"
#include "group_gram.h"
#include "row_groups.h"
#include "simd/kernels.h"
#include "svd.h"

namespace salt {

struct LstsqOptions {
  double ridge = 0;
  bool intercept = false;
  double rcond = -1;  // negative: max(k, h) * rank_epsilon
};

class RowSolver {
 public:
  RowSolver(const Kernels& kernels, const MatrixView& anchors, const LstsqOptions& options)
      : kernels_(kernels), anchors_(anchors), options_(options), svd_(kernels) {}

  // Whether a row of k anchors takes its inner products from its group. This hangs on the row alone: else its last bits
  // would hang on the other rows. Centred anchors are those of one row, and long rows share too little.
  bool takes_products(int64_t k) const { return k <= std::min(anchors_.cols, kGroupColumns) && !options_.intercept; }

  // query: h elements of the anchors' dtype; support: k rows of the anchors; sample_weights: k float64 values, not
  // negative and not all zero, or nullptr for equal ones; the row is `member` of the group whose products are given,
  // if it takes them. Writes k float64 weights.
  void solve(const void* query, const int64_t* support, int64_t k, const double* sample_weights, GroupGram& group,
             int64_t member, double* weights);

 private:
  // The system in the smaller of the two dimensions: n = min(k, h) unknowns, Gram matrix of n x n.
  bool by_anchors() const { return k_ <= h_; }
  void centre(const void* query, const double* sample_weights);
  void load_anchor(int64_t i, int64_t begin, int64_t length, double* out) const;  // scaled and centred
  void accumulate_gram(GroupGram& group, int64_t member);
  void gram_of_group(GroupGram& group, int64_t member);
  void gram_of_anchors();
  void gram_of_columns();
  bool factorise();
  double rcond() const;
  bool is_own_anchor(const void* query, double* weights) const;
  void solve_small(double* weights);
  void refine();
  void residual_of_anchors();
  void residual_of_columns();
  void weights_of_columns(double* weights) const;
  void solve_svd(double* weights);

  const Kernels& kernels_;
  const MatrixView& anchors_;
  const LstsqOptions options_;
  SvdSolver svd_;

  const int64_t* support_ = nullptr;
  int64_t k_ = 0;
  int64_t h_ = 0;
  int64_t n_ = 0;
  int64_t ld_ = 0;         // of gram_
  bool weighted_ = false;  // scale_ is not all 1
  double trace_ = 0;       // of A A^T, before any shift
  double lambda_ = 0;      // ridge * mean(diag)
  double deflation_ = 0;
  std::vector<double> p_;
  std::vector<double> scale_;
  std::vector<double> centre_;
  std::vector<double> query_;
  AlignedVector<double> gram_;  // upper triangle, column n for products with the query; then the Cholesky factor
  AlignedVector<double> rhs_;
  AlignedVector<double> solution_;
  AlignedVector<double> step_;  // of refinement
  AlignedVector<double> workspace_;
  AlignedVector<double> buffer_;
  mutable std::vector<double> row_;
  std::vector<double> image_;  // of refinement, h numbers
};

}  // namespace salt
