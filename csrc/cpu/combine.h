// One output row as a weighted sum of table rows: the innermost step of csr_matmul and transfer.
#pragma once

#include <algorithm>
#include <vector>

#include "tiles.h"

namespace salt {

// Accumulates in T and rounds once. A single entry of weight 1 is a bit-exact copy: the sum starts at -0.0, the one
// value that every addend, -0.0 included, leaves as it is.
template <class T>
class RowCombiner {
 public:
  explicit RowCombiner(const Kernels& kernels) : kernels_(kernels) {}

  template <class Weight>
  void combine(const MatrixView& dense, const int64_t* columns, const Weight* weights, int64_t count, void* out) {
    sum_.assign(static_cast<size_t>(dense.cols), count == 0 ? T{0} : -T{0});
    for (int64_t begin = 0; begin < dense.cols; begin += kChunk) {
      const int64_t length = std::min(kChunk, dense.cols - begin);
      for (int64_t e = 0; e < count; ++e) {
        (kernels_.*Arithmetic<T>::axpy)(dense.dtype, static_cast<T>(weights[e]), dense.at(columns[e], begin), length,
                                        &sum_[static_cast<size_t>(begin)]);
      }
    }
    (kernels_.*Arithmetic<T>::narrow)(dense.dtype, sum_.data(), dense.cols, out);
  }

 private:
  static constexpr int64_t kChunk = 4096;  // the running sums stay in the first-level cache

  const Kernels& kernels_;
  std::vector<T> sum_;
};

}  // namespace salt
