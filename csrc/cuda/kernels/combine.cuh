// One output row as a weighted sum of table rows: the innermost step of csr_matmul and transfer.
#pragma once

#include "../../common/views.h"
#include "block.cuh"
#include "elements.cuh"

namespace salt::cuda {

constexpr int kCombineThreads = 128;

// As many elements as one 16-byte load brings.
template <class Element>
constexpr int kPerLoad = 16 / static_cast<int>(sizeof(Element));

template <class Element>
struct alignas(16) Loaded {
  Element values[kPerLoad<Element>];
};

// The `width` neighbouring elements of the output row from `d` on: sums in CSR order, started at -0.0, the one value
// that every addend leaves as it is, so that a single entry of weight 1 is a bit-exact copy.
template <int width, class Accumulator, class Element>
__device__ __forceinline__ void combine_elements(const MatrixView& dense, const int64_t* columns,
                                                 const Accumulator* weights, int64_t count, int64_t d, Element* out) {
  Accumulator sum[width];
#pragma unroll
  for (int i = 0; i < width; ++i) {
    sum[i] = count == 0 ? Accumulator(0) : -Accumulator(0);
  }
  // Unrolled, so that several rows are on their way before the first is used.
#pragma unroll 4
  for (int64_t e = 0; e < count; ++e) {
    const Element* source = static_cast<const Element*>(dense.data) + columns[e] * dense.row_stride + d;
    const Accumulator weight = weights[e];
    Element values[width];
    if constexpr (width == 1) {
      values[0] = *source;
    } else {
      const Loaded<Element> loaded = *reinterpret_cast<const Loaded<Element>*>(source);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        values[i] = loaded.values[i];
      }
    }
#pragma unroll
    for (int i = 0; i < width; ++i) {
      sum[i] = fma(weight, to_accumulator<Accumulator>(values[i]), sum[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < width; ++i) {
    out[d + i] = round_to<Element>(sum[i]);
  }
}

// One block per row. `vectorised`: every row of dense and of out begins on a 16-byte boundary.
template <class Accumulator, class Element>
__global__ void __launch_bounds__(kCombineThreads)
    combine_rows(CsrView csr, const Accumulator* weights, MatrixView dense, Element* out, bool vectorised) {
  constexpr int kWidth = kPerLoad<Element>;
  for (int64_t row = blockIdx.x; row < csr.rows; row += gridDim.x) {
    const int64_t* columns = csr.row(row);
    const Accumulator* of_row = weights + csr.begin(row);
    Element* target = out + row * dense.cols;
    int64_t done = 0;
    if (vectorised) {
      done = dense.cols / kWidth * kWidth;
      for (int64_t d = static_cast<int64_t>(threadIdx.x) * kWidth; d < done; d += kCombineThreads * kWidth) {
        combine_elements<kWidth, Accumulator>(dense, columns, of_row, csr.size(row), d, target);
      }
    }
    for (int64_t d = done + threadIdx.x; d < dense.cols; d += kCombineThreads) {
      combine_elements<1, Accumulator>(dense, columns, of_row, csr.size(row), d, target);
    }
  }
}

}  // namespace salt::cuda
