// The order in which to visit ragged rows so that rows that share entries meet while these are in cache.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/views.h"

namespace salt {

// Rows grouped by the column of theirs that most rows have: rows of one cluster agree on it. Within a group, the order
// stays. Two passes over the entries and one number per row and column.
std::vector<int64_t> rows_by_neighbours(const CsrView& csr);

}  // namespace salt
