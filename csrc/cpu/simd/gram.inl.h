// The symmetric product of a few long rows. Part of generic.inl.h, whose vector types it uses.
#pragma once

#include "vectors.inl.h"

namespace salt {
namespace {

// A tile of inner products that fits the registers beside the vectors which it multiplies.
constexpr int64_t kGramRows = SALT_VECTOR_BYTES == 32 ? 3 : 4;
constexpr int64_t kGramColumns = SALT_VECTOR_BYTES >= 32 ? 4 : 2;

// Every product is summed in the same order wherever its tile lies, so that equal rows get equal numbers.
inline void gram_tile(const double* const* x, const double* const* y, int64_t length, double (*sums)[kGramColumns]) {
  VecF64 acc[kGramRows][kGramColumns] = {};
  int64_t d = 0;
  for (; d + kF64Lanes <= length; d += kF64Lanes) {
    VecF64 right[kGramColumns];
#pragma GCC unroll 4
    for (int64_t s = 0; s < kGramColumns; ++s) {
      right[s] = load(y[s] + d);
    }
#pragma GCC unroll 4
    for (int64_t r = 0; r < kGramRows; ++r) {
      const VecF64 left = load(x[r] + d);
#pragma GCC unroll 4
      for (int64_t s = 0; s < kGramColumns; ++s) {
        acc[r][s] += left * right[s];
      }
    }
  }
#pragma GCC unroll 4
  for (int64_t r = 0; r < kGramRows; ++r) {
#if SALT_VECTOR_BYTES >= 32
    const QuadF64 quad = sum_lanes(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
    __builtin_memcpy(sums[r], &quad, sizeof(quad));
#else
    sums[r][0] = sum_lanes(acc[r][0]);
    sums[r][1] = sum_lanes(acc[r][1]);
#endif
    for (int64_t e = d; e < length; ++e) {
      for (int64_t s = 0; s < kGramColumns; ++s) {
        sums[r][s] += x[r][e] * y[s][e];
      }
    }
  }
}

void gram(const double* rows, int64_t n, int64_t common, int64_t length, int64_t ld, double* out, int64_t ld_out) {
  const double* x[kGramRows];
  const double* y[kGramColumns];
  double sums[kGramRows][kGramColumns];
  for (int64_t i = 0; i < n; i += kGramRows) {
    for (int64_t r = 0; r < kGramRows; ++r) {
      x[r] = rows + (i + r < n ? i + r : n - 1) * ld;  // past the end: the last row again, whose sums nobody keeps
    }
    const int64_t last = i + kGramRows < n ? i + kGramRows : n;
    const int64_t columns = last < common ? last : common;
    for (int64_t j = 0; j < columns; j += kGramColumns) {
      for (int64_t s = 0; s < kGramColumns; ++s) {
        y[s] = rows + (j + s < n ? j + s : n - 1) * ld;
      }
      gram_tile(x, y, length, sums);
      for (int64_t r = i; r < last; ++r) {
        for (int64_t c = j; c <= r && c < columns && c < j + kGramColumns; ++c) {
          out[c * ld_out + r] += sums[r - i][c - j];
        }
      }
    }
  }
}

}  // namespace
}  // namespace salt
