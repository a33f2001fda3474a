// Solves a group of rows of lstsq_weights: what the op and transfer share. One per thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "group_gram.h"
#include "row_groups.h"
#include "row_solver.h"

namespace salt {

class GroupSolver {
 public:
  GroupSolver(const Kernels& kernels, const MatrixView& anchors, const LstsqOptions& options)
      : gram_(kernels, anchors), solver_(kernels, anchors, options) {}

  // For each of the rows, which are a group: use(row, its weights). query_of(row) is the row's query; `p` the sample
  // weights of all entries of `csr`, or nullptr.
  template <class QueryOf, class Use>
  void run(const CsrView& csr, std::span<const int64_t> rows, const double* p, QueryOf query_of, Use use) {
    queries_.clear();
    for (const int64_t row : rows) {
      queries_.push_back(query_of(row));
    }
    if (std::any_of(rows.begin(), rows.end(), [&](int64_t row) { return solver_.takes_products(csr.size(row)); })) {
      gram_.form(csr, rows, queries_);
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t row = rows[i];
      const int64_t k = csr.size(row);
      weights_.resize(static_cast<size_t>(k));
      solver_.solve(queries_[i], csr.row(row), k, p == nullptr ? nullptr : p + csr.begin(row), gram_,
                    static_cast<int64_t>(i), weights_.data());
      use(row, weights_.data());
    }
  }

 private:
  GroupGram gram_;
  RowSolver solver_;
  std::vector<const void*> queries_;
  std::vector<double> weights_;
};

}  // namespace salt
