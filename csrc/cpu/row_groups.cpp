#include "row_groups.h"

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
  // Where the next row of each group goes. Rows without entries count to the first column, even if there is none.
  std::vector<int64_t> position(static_cast<size_t>(std::max<int64_t>(csr.cols, 1)) + 1, 0);
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

RowGroups group_rows(const CsrView& csr) {
  RowGroups groups{rows_by_neighbours(csr), {}};
  std::vector<int32_t> last_group(static_cast<size_t>(csr.cols), -1);  // that holds the column
  int64_t rows = 0;
  int64_t columns = 0;
  const auto products = [](int64_t m, int64_t n) { return m * (m + 1) / 2 + m * n; };
  for (size_t i = 0; i < groups.order.size(); ++i) {
    const int64_t* row = csr.row(groups.order[i]);
    const int64_t k = csr.size(groups.order[i]);
    int32_t group = static_cast<int32_t>(groups.begin.size()) - 1;
    const int64_t joint =
        columns + std::count_if(row, row + k, [&](int64_t c) { return last_group[static_cast<size_t>(c)] != group; });
    const bool fits = rows < kGroupRows && joint <= kGroupColumns;
    if (i == 0 || !fits || products(joint, rows + 1) - products(columns, rows) > products(k, 1)) {
      groups.begin.push_back(static_cast<int64_t>(i));
      ++group;
      rows = 0;
      columns = k;
    } else {
      columns = joint;
    }
    ++rows;
    for (int64_t e = 0; e < k; ++e) {
      last_group[static_cast<size_t>(row[e])] = group;
    }
  }
  groups.begin.push_back(static_cast<int64_t>(groups.order.size()));
  return groups;
}

}  // namespace salt
