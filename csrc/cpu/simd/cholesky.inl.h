// Cholesky factors of small symmetric matrices. Part of generic.inl.h, whose vector types it uses.
//
// U^T U with U in the upper triangle, row after row: every inner loop then runs along a row, in whole vectors and
// without a horizontal sum. The diagonal of a factor holds one over its entries, which is all that is ever needed.
// Rows have a leading dimension that is a multiple of kMatrixLanes; whole vectors also touch what lies below the
// diagonal and past column n, where any finite number may stand.
#pragma once

#include "vectors.inl.h"

namespace salt {
namespace {

inline int64_t vector_begin(int64_t column) { return column / kF64Lanes * kF64Lanes; }

inline VecF64 magnitude(VecF64 v) { return v < 0 ? -v : v; }

// row[begin ..] -= sum over j < i of U[j][i] U[j][begin ..], `kVectors` vectors held in registers.
template <int64_t kVectors>
inline void subtract_rows(int64_t i, int64_t begin, int64_t ld, double* matrix) {
  double* row = matrix + i * ld + begin;
  VecF64 acc[kVectors];
#pragma GCC unroll 8
  for (int64_t v = 0; v < kVectors; ++v) {
    acc[v] = load(row + v * kF64Lanes);
  }
  for (int64_t j = 0; j < i; ++j) {
    const double factor = matrix[j * ld + i];
    const double* other = matrix + j * ld + begin;
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) {
      acc[v] -= factor * load(other + v * kF64Lanes);
    }
  }
#pragma GCC unroll 8
  for (int64_t v = 0; v < kVectors; ++v) {
    store(row + v * kF64Lanes, acc[v]);
  }
}

bool cholesky_factor(int64_t n, int64_t ld, double* matrix) {
  for (int64_t i = 0; i < n; ++i) {
    double* row = matrix + i * ld;
    const int64_t begin = vector_begin(i);
    int64_t c = begin;
    for (; c + 8 * kF64Lanes <= ld; c += 8 * kF64Lanes) {
      subtract_rows<8>(i, c, ld, matrix);
    }
    for (; c + 4 * kF64Lanes <= ld; c += 4 * kF64Lanes) {
      subtract_rows<4>(i, c, ld, matrix);
    }
    for (; c < ld; c += kF64Lanes) {
      subtract_rows<1>(i, c, ld, matrix);
    }
    if (!(row[i] > 0)) {
      return false;
    }
    const double inverse = 1 / __builtin_sqrt(row[i]);
    for (c = begin; c < ld; c += kF64Lanes) {
      store(row + c, load(row + c) * inverse);
    }
    row[i] = inverse;
  }
  return true;
}

// y = U^-T rhs from position `first` on, before which rhs is zero and y is left alone; destroys rhs. With kMagnitudes,
// the entries beside the diagonal count as minus their magnitudes. Returns the sum of the squares of y.
template <bool kMagnitudes>
inline double forward(int64_t n, int64_t ld, const double* factor, int64_t first, double* rhs, double* y) {
  double squares = 0;
  for (int64_t j = first; j < n; ++j) {
    const double* row = factor + j * ld;
    y[j] = rhs[j] * row[j];
    squares += y[j] * y[j];
    for (int64_t c = vector_begin(j); c < ld; c += kF64Lanes) {
      const VecF64 entries = load(row + c);
      store(rhs + c, load(rhs + c) - y[j] * (kMagnitudes ? -magnitude(entries) : entries));
    }
  }
  return squares;
}

void cholesky_solve(int64_t n, int64_t ld, const double* factor, double* rhs, double* x) {
  forward<false>(n, ld, factor, 0, rhs, x);
  for (int64_t i = 0; i < n; ++i) {
    rhs[i] = x[i];
  }
  for (int64_t i = 0; i < ld; ++i) {
    x[i] = 0;
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    const double* row = factor + i * ld;
    VecF64 acc = {};
    for (int64_t c = vector_begin(i); c < ld; c += kF64Lanes) {  // x is still zero up to i
      acc += load(row + c) * load(x + c);
    }
    x[i] = (rhs[i] - sum_lanes(acc)) * row[i];
  }
}

// |U^-T| <= M^-1 entry by entry, where M has the diagonal of U^T and minus the magnitudes of its other entries. So the
// sums of M^-1's rows, M^-1 (1, ..., 1), bound those of |U^-T|, and these the Euclidean norms of its rows.
double inverse_trace_bound(int64_t n, int64_t ld, const double* factor, double* workspace) {
  for (int64_t i = 0; i < ld; ++i) {
    workspace[i] = 1;
  }
  return forward<true>(n, ld, factor, 0, workspace, workspace + ld);
}

double inverse_trace(int64_t n, int64_t ld, const double* factor, double* workspace) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = vector_begin(i); c < ld; ++c) {
      workspace[c] = c == i ? 1 : 0;
    }
    sum += forward<false>(n, ld, factor, i, workspace, workspace + ld);
  }
  return sum;
}

}  // namespace
}  // namespace salt
