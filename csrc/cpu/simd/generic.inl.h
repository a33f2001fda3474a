// The one source of the three kernel tables, written with the compiler's vector types so that its width is a parameter.
// Everything lives in an anonymous namespace and uses no library template: a function compiled here for AVX-512 must
// never be the copy that the linker keeps for the rest of the program.
//
// Requires SALT_VECTOR_BYTES, SALT_GEMM_ROWS, SALT_KERNELS and SALT_ISA.
#include "elements.inl.h"
#include "kernels.h"

namespace salt {
namespace {

constexpr int64_t kF32Lanes = SALT_VECTOR_BYTES / 4;
constexpr int64_t kF64Lanes = SALT_VECTOR_BYTES / 8;
constexpr int64_t kRows = SALT_GEMM_ROWS;

typedef float VecF32 __attribute__((vector_size(SALT_VECTOR_BYTES)));
typedef double VecF64 __attribute__((vector_size(SALT_VECTOR_BYTES)));

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Vec = VecF32;
  static constexpr int64_t lanes = kF32Lanes;
};
template <>
struct VectorOf<double> {
  using Vec = VecF64;
  static constexpr int64_t lanes = kF64Lanes;
};

template <class T>
inline typename VectorOf<T>::Vec load(const T* in) {
  typename VectorOf<T>::Vec v;
  __builtin_memcpy(&v, in, sizeof(v));
  return v;
}

template <class T>
inline void store(T* out, typename VectorOf<T>::Vec v) {
  __builtin_memcpy(out, &v, sizeof(v));
}

// ---- packed matrix product
// --------------------------------------------------------------------------------------------

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

// ---- selection
// --------------------------------------------------------------------------------------------------------

// Whether any lane of a comparison's result (all ones or all zeros per lane) is set.
template <class Mask>
inline bool any_lane(Mask mask) {
  uint64_t words[SALT_VECTOR_BYTES / 8];
  __builtin_memcpy(words, &mask, sizeof(words));
  uint64_t any = 0;
  for (uint64_t word : words) {
    any |= word;
  }
  return any != 0;
}

template <class T>
int64_t select(const T* in, int64_t n, T threshold, int32_t* positions) {
  constexpr int64_t lanes = VectorOf<T>::lanes;
  int64_t count = 0;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    if (any_lane(load(in + i) > threshold)) {  // rare once the threshold has risen
      for (int64_t lane = 0; lane < lanes; ++lane) {
        positions[count] = static_cast<int32_t>(i + lane);
        count += in[i + lane] > threshold;
      }
    }
  }
  for (; i < n; ++i) {
    positions[count] = static_cast<int32_t>(i);
    count += in[i] > threshold;
  }
  return count;
}

// ---- vectors
// ----------------------------------------------------------------------------------------------------------

template <class T>
void axpy(DType dtype, T weight, const void* row, int64_t n, T* acc) {
  for_each_widened<T>(dtype, row, n, [weight, acc](int64_t i, T value) { acc[i] += weight * value; });
}

inline double sum_lanes(VecF64 v) {
  double sum = v[0];
  for (int64_t lane = 1; lane < kF64Lanes; ++lane) {
    sum += v[lane];
  }
  return sum;
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
      .f32 = {kRows, 2 * kF32Lanes, 256},
      .f64 = {kRows, 2 * kF64Lanes, 256},
      .widen_f32 = widen<float>,
      .widen_f64 = widen<double>,
      .narrow_f32 = narrow<float>,
      .narrow_f64 = narrow<double>,
      .gemm_f32 = gemm<float>,
      .gemm_f64 = gemm<double>,
      .select_f32 = select<float>,
      .select_f64 = select<double>,
      .axpy_f32 = axpy<float>,
      .axpy_f64 = axpy<double>,
      .dot = dot,
      .gram = gram,
      .rotate = rotate,
  };
  return table;
}

}  // namespace salt
