// Refuses indices that are no canonical CSR matrix, before a kernel follows them.
#pragma once

#include "runtime/context.h"

namespace salt::cuda {

// Raises as check_csr_indices of the CPU does. Waits for the stream once; while a CUDA graph is recorded, which forbids
// that, nothing is checked.
void check_csr_indices(const Context& context, const CsrView& csr);

}  // namespace salt::cuda
