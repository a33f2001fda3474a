// Starts the kernels of kernels/combine.cuh for the types at hand.
#pragma once

#include "convert.h"
#include "kernels/combine.cuh"
#include "runtime/launch.h"

namespace salt::cuda {

// out [csr.rows, dense.cols] of dense's dtype, adjacent rows = csr (with `weights`, one per entry) times dense. The
// accumulator is at least as wide as dense's elements.
template <class Accumulator>
void combine(const Context& context, const CsrView& csr, const Accumulator* weights, const MatrixView& dense,
             void* out) {
  const MatrixView result{out, dense.dtype, csr.rows, dense.cols, dense.cols};
  const bool vectorised = dense.rows_begin_on(16) && result.rows_begin_on(16);
  with_element(dense.dtype, [&]<class Element>() {
    if constexpr (sizeof(Element) <= sizeof(Accumulator)) {
      launch(context, combine_rows<Accumulator, Element>, {dense.cols == 0 ? 0 : csr.rows, kCombineThreads}, csr,
             weights, dense, static_cast<Element*>(out), vectorised);
    }
  });
}

// Weights of another type, which are converted first: one pass over them costs next to nothing beside the rows.
template <class Accumulator, class Weight>
void combine_converted(const Context& context, const CsrView& csr, const Weight* weights, const MatrixView& dense,
                       void* out) {
  if constexpr (std::is_same_v<Accumulator, Weight>) {
    combine(context, csr, weights, dense, out);
  } else {
    const Buffer<Accumulator> converted = context.allocate<Accumulator>(csr.nnz);
    convert(context, weights, csr.nnz, converted.data());
    combine(context, csr, static_cast<const Accumulator*>(converted.data()), dense, out);
  }
}

}  // namespace salt::cuda
