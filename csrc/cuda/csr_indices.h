// Refuses indices that are no canonical CSR matrix, before a kernel follows them.
#pragma once

#include "runtime/context.h"

namespace salt::cuda {

// As checked_csr of the CPU. Waits for the stream once; while a CUDA graph is recorded, which forbids that, nothing is
// checked.
PackedCsr checked_csr(const Context& context, const Tensor& crow_indices, const Tensor& col_indices, int64_t columns);

}  // namespace salt::cuda
