// Sums and products of whole vectors. Part of generic.inl.h.
#pragma once

#include "elements.inl.h"
#include "vectors.inl.h"

namespace salt {
namespace {

template <class T>
void axpy(DType dtype, T weight, const void* row, int64_t n, T* acc) {
  for_each_widened<T>(dtype, row, n, [weight, acc](int64_t i, T value) { acc[i] += weight * value; });
}

double dot(const double* x, const double* y, int64_t n) {
  VecF64 acc0 = {};
  VecF64 acc1 = {};
  int64_t i = 0;
  for (; i + 2 * kF64Lanes <= n; i += 2 * kF64Lanes) {
    acc0 += load(x + i) * load(y + i);
    acc1 += load(x + i + kF64Lanes) * load(y + i + kF64Lanes);
  }
  double sum = sum_lanes(acc0 + acc1);
  for (; i < n; ++i) {
    sum += x[i] * y[i];
  }
  return sum;
}

void rotate(double* x, double* y, int64_t n, double c, double s) {
  for (int64_t i = 0; i < n; ++i) {
    const double xi = x[i];
    const double yi = y[i];
    x[i] = c * xi - s * yi;
    y[i] = s * xi + c * yi;
  }
}

}  // namespace
}  // namespace salt
