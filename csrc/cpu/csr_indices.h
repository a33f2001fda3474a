// What makes indices a canonical CSR matrix: crow_indices starts at 0, never falls and ends at nnz; the columns of a
// row ascend strictly and lie in 0 .. cols - 1. Kernels trust indices, so this runs before every one of them.
#pragma once

#include "../ops/tensors.h"

namespace salt {

// The CSR matrix of an op's arguments, whose shapes are checked already. Throws an input error that names crow_indices
// or col_indices and the first row that breaks the rule.
PackedCsr checked_csr(const Tensor& crow_indices, const Tensor& col_indices, int64_t columns);

}  // namespace salt
