// One output row as a weighted sum of table rows: the innermost step of csr_matmul and transfer.
#pragma once

#include <algorithm>
#include <vector>

#include "tiles.h"

namespace salt {

// Accumulates in T, in the order of the entries, and rounds once. A single entry of weight 1 is a bit-exact copy.
template <class T>
class RowCombiner {
 public:
  explicit RowCombiner(const Kernels& kernels) : kernels_(kernels) {}

  // Room for `count` weights, to be filled before `combine` is called with as many.
  T* weights(int64_t count) {
    weights_.resize(std::max(weights_.size(), static_cast<size_t>(count)));
    return weights_.data();
  }

  void combine(const MatrixView& dense, const int64_t* columns, int64_t count, void* out) const {
    (kernels_.*Arithmetic<T>::combine)(dense.dtype, dense.data, dense.row_stride * element_size(dense.dtype), columns,
                                       weights_.data(), count, dense.cols, out);
  }

 private:
  const Kernels& kernels_;
  std::vector<T> weights_;
};

}  // namespace salt
