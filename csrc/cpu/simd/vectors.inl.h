// The compiler's vector types, as wide as the instruction set in hand. Part of generic.inl.h.
#pragma once

#include <cstdint>

namespace salt {
namespace {

constexpr int64_t kF32Lanes = SALT_VECTOR_BYTES / 4;
constexpr int64_t kF64Lanes = SALT_VECTOR_BYTES / 8;

typedef float VecF32 __attribute__((vector_size(SALT_VECTOR_BYTES)));
typedef double VecF64 __attribute__((vector_size(SALT_VECTOR_BYTES)));
typedef int64_t VecI64 __attribute__((vector_size(SALT_VECTOR_BYTES)));
typedef float HalfVecF32 __attribute__((vector_size(SALT_VECTOR_BYTES / 2)));  // as many lanes as VecF64

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

// As many float32 as VecF64 has lanes, widened.
inline VecF64 load_wide(const void* in) {
  HalfVecF32 narrow;
  __builtin_memcpy(&narrow, in, sizeof(narrow));
  return __builtin_convertvector(narrow, VecF64);
}
inline VecF64 load_wide(const float* in) { return load_wide(static_cast<const void*>(in)); }
inline VecF64 load_wide(const double* in) { return load(in); }

}  // namespace
}  // namespace salt
