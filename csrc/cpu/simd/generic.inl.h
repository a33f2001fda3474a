// The one source of the three kernel tables, written with the compiler's vector types so that its width is a parameter.
// Everything lives in an anonymous namespace and uses no library template: a function compiled here for AVX-512 must
// never be the copy that the linker keeps for the rest of the program.
//
// Requires SALT_VECTOR_BYTES, SALT_GEMM_ROWS, SALT_KERNELS and SALT_ISA.
#include "cholesky.inl.h"
#include "combine.inl.h"
#include "elements.inl.h"
#include "gemm.inl.h"
#include "gram.inl.h"
#include "kernels.h"
#include "pack.inl.h"
#include "products.inl.h"
#include "sums.inl.h"
#include "vectors.inl.h"

namespace salt {

const Kernels& SALT_KERNELS() {
  static constexpr Kernels table = {
      .isa = SALT_ISA,
      .f32 = {kRows, 2 * kF32Lanes, 384},
      .f64 = {kRows, 2 * kF64Lanes, 384},
      .s8 = {},
      .widen_f32 = widen<float>,
      .widen_f64 = widen<double>,
      .narrow_f32 = narrow<float>,
      .narrow_f64 = narrow<double>,
      .pack_f32 = pack<float>,
      .pack_f64 = pack<double>,
      .gemm_f32 = gemm<float>,
      .gemm_f64 = gemm<double>,
      .gemm_row_f32 = gemm_row<float>,
      .mark_f32 = mark<float>,
      .mark_f64 = mark<double>,
      .sum_above_f32 = sum_above<float>,
      .sum_above_f64 = sum_above<double>,
      .wide_dot = wide_dot,
      .row_dot = row_dot,
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
      .largest = nullptr,
      .quantise = nullptr,
      .gemm_s8 = nullptr,
  };
  return table;
}

}  // namespace salt
