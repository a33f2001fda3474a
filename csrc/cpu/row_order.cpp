#include "row_order.h"

#include <algorithm>
#include <cstddef>

namespace salt {

std::vector<int64_t> rows_by_neighbours(const CsrView& csr) {
  std::vector<int32_t> uses(static_cast<size_t>(csr.cols), 0);
  for (int64_t e = 0; e < csr.nnz; ++e) {
    ++uses[static_cast<size_t>(csr.col[e])];
  }
  // Of equally common columns the first, so that rows still agree.
  const auto rarer = [&](int64_t a, int64_t b) { return uses[static_cast<size_t>(a)] < uses[static_cast<size_t>(b)]; };
  std::vector<int64_t> group(static_cast<size_t>(csr.rows), 0);
  std::vector<int64_t> position(static_cast<size_t>(csr.cols) + 1, 0);  // where the next row of each group goes
  for (int64_t row = 0; row < csr.rows; ++row) {
    int64_t& column = group[static_cast<size_t>(row)];
    if (csr.size(row) > 0) {
      column = *std::max_element(csr.row(row), csr.row(row) + csr.size(row), rarer);
    }
    ++position[static_cast<size_t>(column) + 1];
  }
  for (size_t column = 1; column < position.size(); ++column) {
    position[column] += position[column - 1];
  }
  std::vector<int64_t> order(static_cast<size_t>(csr.rows));
  for (int64_t row = 0; row < csr.rows; ++row) {
    order[static_cast<size_t>(position[static_cast<size_t>(group[static_cast<size_t>(row)])]++)] = row;
  }
  return order;
}

}  // namespace salt
