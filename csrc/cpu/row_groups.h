// Which ragged rows to work on together: rows that share columns meet while what these name is in cache.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/views.h"

namespace salt {

// Rows by the column of theirs that most rows have: rows of one cluster agree on it. Rows of one such column keep their
// order. Two passes over the entries and one number per row and column.
std::vector<int64_t> rows_by_neighbours(const CsrView& csr);

// Group g is order[begin[g]] ... order[begin[g + 1] - 1].
struct RowGroups {
  std::vector<int64_t> order;
  std::vector<int64_t> begin;

  int64_t count() const { return static_cast<int64_t>(begin.size()) - 1; }
};

// Neighbours share a group as long as it needs no more products of columns with columns and with rows for one row more
// than that row needs by itself; at most `max_rows` rows and `max_columns` columns. Longer rows are alone.
RowGroups group_rows(const CsrView& csr, int64_t max_rows, int64_t max_columns);

}  // namespace salt
