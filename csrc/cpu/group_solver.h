// Solves a group of rows of lstsq_weights: what the op and transfer share. One per thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "group_gram.h"
#include "row_groups.h"
#include "row_solver.h"

namespace salt {

inline RowGroups solver_groups(const CsrView& csr) { return group_rows(csr, kGroupRows, kGroupAnchors); }

class GroupSolver {
 public:
  GroupSolver(const Kernels& kernels, const MatrixView& anchors, const LstsqOptions& options)
      : gram_(kernels, anchors), solver_(kernels, anchors, options) {}

  // For each row of the group: use(row, its weights). query_of(row) is the row's query; `p` the sample weights of all
  // entries of `csr`, or nullptr.
  template <class QueryOf, class Use>
  void run(const CsrView& csr, const RowGroups& groups, int64_t group, const double* p, QueryOf query_of, Use use) {
    const int64_t* rows = &groups.order[static_cast<size_t>(groups.begin[static_cast<size_t>(group)])];
    const int64_t count = groups.begin[static_cast<size_t>(group) + 1] - groups.begin[static_cast<size_t>(group)];
    queries_.clear();
    for (int64_t i = 0; i < count; ++i) {
      queries_.push_back(query_of(rows[i]));
    }
    if (std::any_of(rows, rows + count, [&](int64_t row) { return solver_.takes_products(csr.size(row)); })) {
      gram_.form(csr, rows, queries_);
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = rows[i];
      const int64_t k = csr.size(row);
      weights_.resize(static_cast<size_t>(k));
      solver_.solve(queries_[static_cast<size_t>(i)], csr.row(row), k, p == nullptr ? nullptr : p + csr.begin(row),
                    gram_, i, weights_.data());
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
