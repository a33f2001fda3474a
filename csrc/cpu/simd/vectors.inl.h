// Sums and products of whole vectors. Part of generic.inl.h, whose vector types it uses.
#pragma once

namespace salt {
namespace {

template <class T>
void axpy(DType dtype, T weight, const void* row, int64_t n, T* acc) {
  for_each_widened<T>(dtype, row, n, [weight, acc](int64_t i, T value) { acc[i] += weight * value; });
}

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

#if SALT_VECTOR_BYTES >= 32
typedef double QuadF64 __attribute__((vector_size(32)));

// sum_lanes of four vectors at once, in the same order of additions for each.
inline QuadF64 sum_lanes(VecF64 a, VecF64 b, VecF64 c, VecF64 d) {
#if SALT_VECTOR_BYTES >= 64
  const auto ab = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14) +
                  __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  const auto cd = __builtin_shufflevector(c, d, 0, 8, 2, 10, 4, 12, 6, 14) +
                  __builtin_shufflevector(c, d, 1, 9, 3, 11, 5, 13, 7, 15);
  const auto abcd = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) +
                    __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
  return __builtin_shufflevector(abcd, abcd, 0, 1, 2, 3) + __builtin_shufflevector(abcd, abcd, 4, 5, 6, 7);
#else
  const auto ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
  const auto cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#endif
}
#endif

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
