// Sums and products of whole vectors. Part of generic.inl.h, whose vector types it uses.
#pragma once

namespace salt {
namespace {

template <class T>
void axpy(DType dtype, T weight, const void* row, int64_t n, T* acc) {
  for_each_widened<T>(dtype, row, n, [weight, acc](int64_t i, T value) { acc[i] += weight * value; });
}

// The lanes in pairs of halves: as many additions as the logarithm of their number.
inline double sum_lanes(VecF64 v) {
#if SALT_VECTOR_BYTES >= 64
  const auto half = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  const auto half = v;
#endif
#if SALT_VECTOR_BYTES >= 32
  const auto pair = __builtin_shufflevector(half, half, 0, 1) + __builtin_shufflevector(half, half, 2, 3);
#else
  const auto pair = half;
#endif
  return pair[0] + pair[1];
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
