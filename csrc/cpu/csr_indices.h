// What makes indices a canonical CSR matrix: crow_indices starts at 0, never falls and ends at nnz; the columns of a
// row ascend strictly and lie in 0 .. cols - 1. Kernels trust indices, so this runs before every one of them.
#pragma once

#include "../common/views.h"

namespace salt {

// Throws an input error that names crow_indices or col_indices and the first row that breaks the rule.
void check_csr_indices(const CsrView& csr);

}  // namespace salt
