// Sums in float64. Part of generic.inl.h.
#pragma once

#include "elements.inl.h"
#include "vectors.inl.h"

namespace salt {
namespace {

// The sum of product(i) over i < n; products(i) is a vector's worth of them from i on. Four sums at once, so that no
// addition waits for the one before.
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

// Calls use(part, its begin, its length) for a row of any other type than float32, part after part in float64.
template <class Use>
inline void for_each_widened_part(DType dtype, const void* row, int64_t n, Use use) {
  constexpr int64_t longest = 512;
  double part[longest];
  for (int64_t begin = 0; begin < n; begin += longest) {
    const int64_t length = n - begin < longest ? n - begin : longest;
    widen<double>(dtype, static_cast<const unsigned char*>(row) + begin * element_size(dtype), length, part);
    use(part, begin, length);
  }
}

// x . row: a row of float32 is widened in registers.
double wide_dot(DType dtype, const double* x, const void* row, int64_t n) {
  if (dtype == DType::kFloat32) {
    const unsigned char* y = static_cast<const unsigned char*>(row);
    return sum_products(
        n, [x, y](int64_t i) { return load(x + i) * load_wide(y + 4 * i); },
        [x, y](int64_t i) { return x[i] * static_cast<double>(scalar_at<float>(y, i)); });
  }
  double sum = 0;
  for_each_widened_part(dtype, row, n, [x, &sum](const double* y, int64_t begin, int64_t length) {
    const double* other = x + begin;
    sum += sum_products(
        length, [other, y](int64_t i) { return load(other + i) * load(y + i); },
        [other, y](int64_t i) { return other[i] * y[i]; });
  });
  return sum;
}

inline VecF64 square(VecF64 v) { return v * v; }
inline double square(double v) { return v * v; }

// row . row
double squares(DType dtype, const void* row, int64_t n) {
  if (dtype == DType::kFloat32) {
    const unsigned char* y = static_cast<const unsigned char*>(row);
    return sum_products(
        n, [y](int64_t i) { return square(load_wide(y + 4 * i)); },
        [y](int64_t i) { return square(static_cast<double>(scalar_at<float>(y, i))); });
  }
  double sum = 0;
  for_each_widened_part(dtype, row, n, [&sum](const double* y, int64_t, int64_t length) {
    sum +=
        sum_products(length, [y](int64_t i) { return square(load(y + i)); }, [y](int64_t i) { return square(y[i]); });
  });
  return sum;
}

// The sum of what exceeds the threshold; `count` becomes how many.
template <class T>
double sum_above(const T* in, int64_t n, double threshold, int64_t* count) {
  VecF64 sums = {};
  VecI64 counts = {};  // less one for each: a true comparison is -1
  const auto take = [&](const T* part) {
    const VecF64 v = load_wide(part);
    const VecI64 above = v > threshold;
    sums += above ? v : VecF64{};
    counts += above;
  };
  int64_t i = 0;
  for (; i + kF64Lanes <= n; i += kF64Lanes) {
    take(in + i);
  }
  if (i < n) {
    T rest[kF64Lanes];
    for (int64_t lane = 0; lane < kF64Lanes; ++lane) {
      rest[lane] = i + lane < n ? in[i + lane] : -__builtin_inff();
    }
    take(rest);
  }
  int64_t found = 0;
  for (int64_t lane = 0; lane < kF64Lanes; ++lane) {
    found -= counts[lane];
  }
  *count = found;
  return sum_lanes(sums);
}

}  // namespace
}  // namespace salt
