// One tile of the packed matrix product, and which of its elements matter. Part of generic.inl.h; requires
// SALT_GEMM_ROWS.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vectors.inl.h"

namespace salt {
namespace {

constexpr int64_t kRows = SALT_GEMM_ROWS;

// kRows x (2 vectors) of C, held in registers over the whole depth. One line of `ahead` is asked for while as many
// elements as it holds are multiplied: at that pace the memory keeps up unnoticed.
template <class T>
void gemm(int64_t depth, const T* a, const T* b, T* c, int64_t ldc, bool accumulate, const void* ahead) {
  using Vec = typename VectorOf<T>::Vec;
  constexpr int64_t lanes = VectorOf<T>::lanes;
  constexpr int64_t line = 64 / sizeof(T);
  Vec acc[kRows][2] = {};
  for (int64_t begin = 0; begin < depth; begin += line) {
    __builtin_prefetch(static_cast<const T*>(ahead) + begin, 0, 2);
    const int64_t steps = depth - begin < line ? depth - begin : line;
    for (int64_t d = 0; d < steps; ++d) {
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
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < kRows; ++i) {
    T* row = c + i * ldc;
    store(row, accumulate ? load(row) + acc[i][0] : acc[i][0]);
    store(row + lanes, accumulate ? load(row + lanes) + acc[i][1] : acc[i][1]);
  }
}

// One row of the same, by the same operations in the same order.
template <class T>
void gemm_row(int64_t depth, const T* a, const T* b, T* c, bool accumulate) {
  using Vec = typename VectorOf<T>::Vec;
  constexpr int64_t lanes = VectorOf<T>::lanes;
  Vec left = {};
  Vec right = {};
  for (int64_t d = 0; d < depth; ++d) {
    left += a[d] * load(b + d * 2 * lanes);
    right += a[d] * load(b + d * 2 * lanes + lanes);
  }
  store(c, accumulate ? load(c) + left : left);
  store(c + lanes, accumulate ? load(c + lanes) + right : right);
}

// Bit i: whether lane i of v exceeds the threshold. The compiler's own vectors have no way from lanes to bits.
inline uint32_t bits_above(VecF32 v, float threshold) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(__m512(v), _mm512_set1_ps(threshold), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(__m256(v), _mm256_set1_ps(threshold), _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(__m128(v), _mm_set1_ps(threshold))));
#else
  uint32_t bits = 0;
  for (int64_t lane = 0; lane < kF32Lanes; ++lane) {
    bits |= uint32_t{v[lane] > threshold} << lane;
  }
  return bits;
#endif
}

inline uint32_t bits_above(VecF64 v, double threshold) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask(__m512d(v), _mm512_set1_pd(threshold), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(__m256d(v), _mm256_set1_pd(threshold), _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_pd(_mm_cmpgt_pd(__m128d(v), _mm_set1_pd(threshold))));
#else
  uint32_t bits = 0;
  for (int64_t lane = 0; lane < kF64Lanes; ++lane) {
    bits |= uint32_t{v[lane] > threshold} << lane;
  }
  return bits;
#endif
}

template <class T>
void mark(const T* c, int64_t ldc, const T* thresholds, bool either_sign, uint32_t* marks, int64_t ld_marks) {
  constexpr int64_t lanes = VectorOf<T>::lanes;
#pragma GCC unroll 16
  for (int64_t i = 0; i < kRows; ++i) {
    const auto left = load(c + i * ldc);
    const auto right = load(c + i * ldc + lanes);
    uint32_t bits = bits_above(left, thresholds[i]) | bits_above(right, thresholds[i]) << lanes;
    if (either_sign) {
      bits |= bits_above(-left, thresholds[i]) | bits_above(-right, thresholds[i]) << lanes;
    }
    marks[i * ld_marks] = bits;
  }
}

}  // namespace
}  // namespace salt
