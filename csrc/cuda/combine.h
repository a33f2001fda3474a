// Starts the kernel of kernels/combine.cuh for the types at hand.
#pragma once

#include "kernels/combine.cuh"
#include "runtime/launch.h"

namespace salt::cuda {

// out [csr.rows, dense.cols] of dense's dtype, adjacent rows = csr (with `weights`, one per entry) times dense.
template <class Accumulator, class Weight>
void combine(const Context& context, const CsrView& csr, const Weight* weights, const MatrixView& dense, void* out) {
  const int64_t row_bytes = dense.row_stride * element_size(dense.dtype);
  const auto address = reinterpret_cast<uintptr_t>(dense.data) | reinterpret_cast<uintptr_t>(out);
  const bool vectorised = address % 16 == 0 && row_bytes % 16 == 0 && dense.cols * element_size(dense.dtype) % 16 == 0;
  with_element(dense.dtype, [&]<class Element>() {
    launch(context, combine_rows<Accumulator, Element, Weight>, {dense.cols == 0 ? 0 : csr.rows, kCombineThreads}, csr,
           weights, dense, static_cast<Element*>(out), vectorised);
  });
}

}  // namespace salt::cuda
