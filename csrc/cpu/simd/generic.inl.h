// The one source of the three kernel tables, written with the compiler's vector types so that its width is a parameter.
// Everything lives in an anonymous namespace and uses no library template: a function compiled here for AVX-512 must
// never be the copy that the linker keeps for the rest of the program.
//
// Requires SALT_VECTOR_BYTES, SALT_GEMM_ROWS, SALT_KERNELS and SALT_ISA.
#include "ceiling.inl.h"
#include "elements.inl.h"
#include "gemm.inl.h"
#include "kernels.h"
#include "pack.inl.h"
#include "sums.inl.h"
#include "vectors.inl.h"

namespace salt {
namespace {

// ---- vectors
// ----------------------------------------------------------------------------------------------------------

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

// 4 x 2 dot products at once: six loads feed eight multiply-adds.
inline void gram_tile(const double* rows, int64_t i, int64_t j, int64_t length, int64_t ld, double* gram,
                      int64_t ld_gram) {
  VecF64 acc[4][2] = {};
  int64_t d = 0;
  for (; d + kF64Lanes <= length; d += kF64Lanes) {
    const VecF64 y0 = load(rows + j * ld + d);
    const VecF64 y1 = load(rows + (j + 1) * ld + d);
#pragma GCC unroll 4
    for (int64_t r = 0; r < 4; ++r) {
      const VecF64 x = load(rows + (i + r) * ld + d);
      acc[r][0] += x * y0;
      acc[r][1] += x * y1;
    }
  }
  for (int64_t r = 0; r < 4; ++r) {
    for (int64_t s = 0; s < 2; ++s) {
      double sum = sum_lanes(acc[r][s]);
      for (int64_t e = d; e < length; ++e) {
        sum += rows[(i + r) * ld + e] * rows[(j + s) * ld + e];
      }
      gram[(i + r) * ld_gram + j + s] += sum;
    }
  }
}

void gram(const double* rows, int64_t n, int64_t length, int64_t ld, double* out, int64_t ld_gram) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    int64_t j = 0;
    for (; j + 2 <= i; j += 2) {
      gram_tile(rows, i, j, length, ld, out, ld_gram);
    }
    for (int64_t r = i; r < i + 4; ++r) {
      for (int64_t s = j; s <= r; ++s) {
        out[r * ld_gram + s] += dot(rows + r * ld, rows + s * ld, length);
      }
    }
  }
  for (; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      out[i * ld_gram + j] += dot(rows + i * ld, rows + j * ld, length);
    }
  }
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

const Kernels& SALT_KERNELS() {
  static constexpr Kernels table = {
      .isa = SALT_ISA,
      .f32 = {kRows, 2 * kF32Lanes, 384},
      .f64 = {kRows, 2 * kF64Lanes, 384},
      .widen_f32 = widen<float>,
      .widen_f64 = widen<double>,
      .narrow_f32 = narrow<float>,
      .narrow_f64 = narrow<double>,
      .pack_f32 = pack<float>,
      .pack_f64 = pack<double>,
      .gemm_f32 = gemm<float>,
      .gemm_f64 = gemm<double>,
      .mark_f32 = mark<float>,
      .mark_f64 = mark<double>,
      .sum_above_f32 = sum_above<float>,
      .sum_above_f64 = sum_above<double>,
      .wide_dot = wide_dot,
      .axpy_f32 = axpy<float>,
      .axpy_f64 = axpy<double>,
      .dot = dot,
      .gram = gram,
      .rotate = rotate,
      .multiply_adds_f32 = multiply_add_chains<float>,
      .multiply_adds_f64 = multiply_add_chains<double>,
  };
  return table;
}

}  // namespace salt
