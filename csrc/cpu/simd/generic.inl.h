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

}  // namespace
}  // namespace salt

#include "cholesky.inl.h"
#include "combine.inl.h"
#include "gram.inl.h"
#include "vectors.inl.h"

namespace salt {

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
      .combine_f32 = combine<float>,
      .combine_f64 = combine<double>,
      .dot = dot,
      .gram = gram,
      .cholesky_factor = cholesky_factor,
      .cholesky_solve = cholesky_solve,
      .inverse_trace = inverse_trace,
      .inverse_trace_bound = inverse_trace_bound,
      .rotate = rotate,
  };
  return table;
}

}  // namespace salt
