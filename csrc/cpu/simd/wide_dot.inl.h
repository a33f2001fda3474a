// Inner products in float64 of rows of any element type, widened on the way. Part of generic.inl.h.
#pragma once

#include "elements.inl.h"
#include "vectors.inl.h"

namespace salt {
namespace {

// Sum of product(i) over i < n, where product<Vec> takes a vector's worth from i on; four sums, so that no addition
// waits for the one before.
template <class Products, class Product>
inline double sum_products(int64_t n, Products products, Product product) {
  VecF64 acc[4] = {};
  int64_t i = 0;
  for (; i + 4 * kF64Lanes <= n; i += 4 * kF64Lanes) {
#pragma GCC unroll 4
    for (int64_t part = 0; part < 4; ++part) {
      acc[part] += products(i + part * kF64Lanes);
    }
  }
  for (; i + kF64Lanes <= n; i += kF64Lanes) {
    acc[0] += products(i);
  }
  double sum = sum_lanes((acc[0] + acc[1]) + (acc[2] + acc[3]));
  for (; i < n; ++i) {
    sum += product(i);
  }
  return sum;
}

// x . row, or row . row where x is null.
inline double wide_dot_f32(const double* x, const void* row, int64_t n) {
  const unsigned char* y = static_cast<const unsigned char*>(row);
  if (x == nullptr) {
    return sum_products(
        n,
        [y](int64_t i) {
          const VecF64 v = load_wide(y + 4 * i);
          return v * v;
        },
        [y](int64_t i) {
          const double v = static_cast<double>(scalar_at<float>(y, i));
          return v * v;
        });
  }
  return sum_products(
      n, [x, y](int64_t i) { return load(x + i) * load_wide(y + 4 * i); },
      [x, y](int64_t i) { return x[i] * static_cast<double>(scalar_at<float>(y, i)); });
}

double wide_dot(DType dtype, const double* x, const void* row, int64_t n) {
  if (dtype == DType::kFloat32) {
    return wide_dot_f32(x, row, n);
  }
  constexpr int64_t chunk = 512;
  double y[chunk];
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t length = n - begin < chunk ? n - begin : chunk;
    widen<double>(dtype, static_cast<const unsigned char*>(row) + begin * element_size(dtype), length, y);
    const double* other = x == nullptr ? y : x + begin;
    sum += sum_products(
        length, [&](int64_t i) { return load(other + i) * load(y + i); }, [&](int64_t i) { return other[i] * y[i]; });
  }
  return sum;
}

}  // namespace
}  // namespace salt
