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
  double sum = v[0];
  for (int64_t lane = 1; lane < kF64Lanes; ++lane) {
    sum += v[lane];
  }
  return sum;
}

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
