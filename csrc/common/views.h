// Raw views that kernels work on: a row-strided matrix of any element type, and compressed sparse rows.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace salt {

// Rows need not be adjacent (row_stride in elements), but the elements of one row are. Any alignment of `data` is
// legal.
struct MatrixView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;

  SALT_HOST_DEVICE const void* row(int64_t index) const {
    return static_cast<const char*>(data) + index * row_stride * element_size(dtype);
  }
  // The same row from column `col` on.
  SALT_HOST_DEVICE const void* at(int64_t index, int64_t col) const {
    return static_cast<const char*>(data) + (index * row_stride + col) * element_size(dtype);
  }
  // Whether every row begins at a multiple of `bytes`.
  bool rows_begin_on(int64_t bytes) const {
    return static_cast<int64_t>(reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes)) == 0 &&
           row_stride * element_size(dtype) % bytes == 0;
  }
  MatrixView slice(int64_t begin, int64_t count) const { return {row(begin), dtype, count, cols, row_stride}; }
};

// Row r owns the entries [crow[r], crow[r + 1]) of `col`.
struct CsrView {
  const int64_t* crow = nullptr;
  const int64_t* col = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t nnz = 0;

  SALT_HOST_DEVICE int64_t begin(int64_t row) const { return crow[row]; }
  SALT_HOST_DEVICE int64_t size(int64_t row) const { return crow[row + 1] - crow[row]; }
  SALT_HOST_DEVICE const int64_t* row(int64_t row) const { return col + crow[row]; }
};

}  // namespace salt
