// Which ragged rows to work on together: rows that share columns meet while what these name is in cache.
#pragma once

#include <cstdint>
#include <span>
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
  std::span<const int64_t> rows(int64_t group) const {
    const size_t first = static_cast<size_t>(begin[static_cast<size_t>(group)]);
    return {order.data() + first, static_cast<size_t>(begin[static_cast<size_t>(group) + 1]) - first};
  }
};

// At most so many rows and columns in a group: what a thread keeps of a full one stays in the second-level cache.
constexpr int64_t kGroupRows = 32;
constexpr int64_t kGroupColumns = 96;

// Neighbours share a group as long as it needs no more products of columns with columns and with rows for one row more
// than that row needs by itself. Rows of more than kGroupColumns are alone.
RowGroups group_rows(const CsrView& csr);

}  // namespace salt
