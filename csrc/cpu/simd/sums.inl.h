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

// x . y, rows of any element type: float32 is widened in registers, others part by part.
double wide_dot(DType dtype, const void* x, const void* y, int64_t n) {
  const unsigned char* left = static_cast<const unsigned char*>(x);
  const unsigned char* right = static_cast<const unsigned char*>(y);
  if (dtype == DType::kFloat32) {
    return sum_products(
        n, [=](int64_t i) { return load_wide(left + 4 * i) * load_wide(right + 4 * i); },
        [=](int64_t i) {
          return static_cast<double>(scalar_at<float>(left, i)) * static_cast<double>(scalar_at<float>(right, i));
        });
  }
  constexpr int64_t longest = 256;
  double wide_left[longest];
  double wide_right[longest];
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += longest) {
    const int64_t length = n - begin < longest ? n - begin : longest;
    widen<double>(dtype, left + begin * element_size(dtype), length, wide_left);
    widen<double>(dtype, right + begin * element_size(dtype), length, wide_right);
    sum += sum_products(
        length, [&](int64_t i) { return load(wide_left + i) * load(wide_right + i); },
        [&](int64_t i) { return wide_left[i] * wide_right[i]; });
  }
  return sum;
}

double row_dot(DType dtype, const void* row, const double* x, int64_t n) {
  const unsigned char* bytes = static_cast<const unsigned char*>(row);
  if (dtype == DType::kFloat32) {
    return sum_products(
        n, [=](int64_t i) { return load_wide(bytes + 4 * i) * load(x + i); },
        [=](int64_t i) { return static_cast<double>(scalar_at<float>(bytes, i)) * x[i]; });
  }
  constexpr int64_t longest = 256;
  double wide[longest];
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += longest) {
    const int64_t length = n - begin < longest ? n - begin : longest;
    widen<double>(dtype, bytes + begin * element_size(dtype), length, wide);
    sum += sum_products(
        length, [&](int64_t i) { return load(wide + i) * load(x + begin + i); },
        [&](int64_t i) { return wide[i] * x[begin + i]; });
  }
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
