// The kernels of one arithmetic type, so that the engine and the selections are written once.
#pragma once

#include "simd/kernels.h"

namespace salt {

template <class T>
struct Arithmetic;

template <>
struct Arithmetic<float> {
  static constexpr DType dtype = DType::kFloat32;
  static const Blocking& blocking(const Kernels& k) { return k.f32; }
  static constexpr auto widen = &Kernels::widen_f32;
  static constexpr auto pack = &Kernels::pack_f32;
  static constexpr auto gemm = &Kernels::gemm_f32;
  static constexpr auto mark = &Kernels::mark_f32;
  static constexpr auto sum_above = &Kernels::sum_above_f32;
  static constexpr auto combine = &Kernels::combine_f32;
  static constexpr auto narrow = &Kernels::narrow_f32;
};

template <>
struct Arithmetic<double> {
  static constexpr DType dtype = DType::kFloat64;
  static const Blocking& blocking(const Kernels& k) { return k.f64; }
  static constexpr auto widen = &Kernels::widen_f64;
  static constexpr auto pack = &Kernels::pack_f64;
  static constexpr auto gemm = &Kernels::gemm_f64;
  static constexpr auto mark = &Kernels::mark_f64;
  static constexpr auto sum_above = &Kernels::sum_above_f64;
  static constexpr auto combine = &Kernels::combine_f64;
  static constexpr auto narrow = &Kernels::narrow_f64;
};

}  // namespace salt
