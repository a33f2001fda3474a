// The packed matrix product. Part of generic.inl.h; requires SALT_GEMM_ROWS.
#pragma once

#include "vectors.inl.h"

namespace salt {
namespace {

constexpr int64_t kRows = SALT_GEMM_ROWS;

// One kRows x (2 vectors) tile of C, held in registers over the whole depth.
template <class T>
inline void gemm_tile(int64_t depth, const T* a, const T* b, T* c, int64_t ldc, bool accumulate) {
  using Vec = typename VectorOf<T>::Vec;
  constexpr int64_t lanes = VectorOf<T>::lanes;
  Vec acc[kRows][2] = {};
  for (int64_t d = 0; d < depth; ++d) {
    const Vec b0 = load(b);
    const Vec b1 = load(b + lanes);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kRows; ++i) {
      acc[i][0] += a[i] * b0;
      acc[i][1] += a[i] * b1;
    }
    a += kRows;
    b += 2 * lanes;
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < kRows; ++i) {
    T* row = c + i * ldc;
    store(row, accumulate ? load(row) + acc[i][0] : acc[i][0]);
    store(row + lanes, accumulate ? load(row + lanes) + acc[i][1] : acc[i][1]);
  }
}

template <class T>
void gemm(int64_t m_panels, int64_t n_panels, int64_t depth, const T* a, const T* b, T* c, int64_t ldc,
          bool accumulate) {
  constexpr int64_t nr = 2 * VectorOf<T>::lanes;
  for (int64_t j = 0; j < n_panels; ++j) {  // one panel of B stays in the first-level cache while A streams past
    for (int64_t i = 0; i < m_panels; ++i) {
      gemm_tile(depth, a + i * depth * kRows, b + j * depth * nr, c + i * kRows * ldc + j * nr, ldc, accumulate);
    }
  }
}

}  // namespace
}  // namespace salt
