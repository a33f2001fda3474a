// Looking for the few scores that matter among many. Part of generic.inl.h.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vectors.inl.h"

namespace salt {
namespace {

// Bit i: whether lane i of v exceeds the threshold. The compiler's own vectors have no way from lanes to bits.
inline uint64_t bits_above(VecF32 v, float threshold) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(__m512(v), _mm512_set1_ps(threshold), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(__m256(v), _mm256_set1_ps(threshold), _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint64_t>(_mm_movemask_ps(_mm_cmpgt_ps(__m128(v), _mm_set1_ps(threshold))));
#else
  uint64_t bits = 0;
  for (int64_t lane = 0; lane < kF32Lanes; ++lane) {
    bits |= uint64_t{v[lane] > threshold} << lane;
  }
  return bits;
#endif
}

inline uint64_t bits_above(VecF64 v, double threshold) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask(__m512d(v), _mm512_set1_pd(threshold), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint64_t>(_mm256_movemask_pd(_mm256_cmp_pd(__m256d(v), _mm256_set1_pd(threshold), _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint64_t>(_mm_movemask_pd(_mm_cmpgt_pd(__m128d(v), _mm_set1_pd(threshold))));
#else
  uint64_t bits = 0;
  for (int64_t lane = 0; lane < kF64Lanes; ++lane) {
    bits |= uint64_t{v[lane] > threshold} << lane;
  }
  return bits;
#endif
}

template <class T>
int64_t select(const T* in, int64_t n, T threshold, int32_t* positions) {
  constexpr int64_t lanes = VectorOf<T>::lanes;
  int64_t count = 0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    uint64_t bits = bits_above(load(in + i), threshold) | bits_above(load(in + i + lanes), threshold) << lanes |
                    bits_above(load(in + i + 2 * lanes), threshold) << (2 * lanes) |
                    bits_above(load(in + i + 3 * lanes), threshold) << (3 * lanes);
    for (; bits != 0; bits &= bits - 1) {  // rare once the threshold has risen
      positions[count++] = static_cast<int32_t>(i + __builtin_ctzll(bits));
    }
  }
  for (; i < n; ++i) {
    positions[count] = static_cast<int32_t>(i);
    count += in[i] > threshold;
  }
  return count;
}

// The sum, in float64, of what exceeds the threshold; `count` becomes how many.
template <class T>
double sum_above(const T* in, int64_t n, double threshold, int64_t* count) {
  VecF64 sums = {};
  VecF64 counts = {};
  int64_t i = 0;
  for (; i + kF64Lanes <= n; i += kF64Lanes) {
    const VecF64 v = load_wide(in + i);
    sums += v > threshold ? v : VecF64{};
    counts += v > threshold ? VecF64{} + 1.0 : VecF64{};
  }
  double sum = sum_lanes(sums);
  int64_t above = static_cast<int64_t>(sum_lanes(counts));
  for (; i < n; ++i) {
    const double value = static_cast<double>(in[i]);
    sum += value > threshold ? value : 0;
    above += value > threshold;
  }
  *count = above;
  return sum;
}

}  // namespace
}  // namespace salt
