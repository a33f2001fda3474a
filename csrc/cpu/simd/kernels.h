// The innermost loops, one table of them per instruction set. Each table is compiled in its own file with its own flags
// (kernels_portable.cpp, kernels_avx2.cpp, kernels_avx512.cpp) from one generic source (generic.inl.h); dispatch.cpp
// picks one at run time. Pointers may have any alignment. No kernel allocates, and no kernel reads past what it is
// told.
#pragma once

#include <cstdint>

#include "../../common/dtype.h"

namespace salt {

// Blocking of the packed matrix product: panels of `mr` left rows and `nr` right rows, depth split into `kc`.
struct Blocking {
  int64_t mr;
  int64_t nr;
  int64_t kc;
};

struct Kernels {
  const char* isa;
  Blocking f32;
  Blocking f64;

  // out[i] = widened in[i]; exact for every pair of types here except float64 -> float32, which rounds to nearest.
  void (*widen_f32)(DType dtype, const void* in, int64_t n, float* out);
  void (*widen_f64)(DType dtype, const void* in, int64_t n, double* out);
  // out[i] = in[i] rounded to nearest even.
  void (*narrow_f32)(DType dtype, const float* in, int64_t n, void* out);
  void (*narrow_f64)(DType dtype, const double* in, int64_t n, void* out);

  // One panel of `width` rows side by side, each times its scale: out[d * width + r] = rows[r][d] * scales[r].
  void (*pack_f32)(const void* const* rows, const float* scales, int64_t depth, int64_t width, float* out);
  void (*pack_f64)(const void* const* rows, const double* scales, int64_t depth, int64_t width, double* out);

  // C (m_panels * mr rows, n_panels * nr columns, leading dimension ldc) = or += A B^T, both packed: panel p of A holds
  // depth x mr values, panel p of B depth x nr. Accumulates in the type of C, in the order of the depth.
  void (*gemm_f32)(int64_t m_panels, int64_t n_panels, int64_t depth, const float* a, const float* b, float* c,
                   int64_t ldc, bool accumulate);
  void (*gemm_f64)(int64_t m_panels, int64_t n_panels, int64_t depth, const double* a, const double* b, double* c,
                   int64_t ldc, bool accumulate);

  // Positions i in ascending order with in[i] > threshold; returns how many.
  int64_t (*select_f32)(const float* in, int64_t n, float threshold, int32_t* positions);
  int64_t (*select_f64)(const double* in, int64_t n, double threshold, int32_t* positions);

  // The sum in float64 of what exceeds the threshold; `count` becomes how many.
  double (*sum_above_f32)(const float* in, int64_t n, double threshold, int64_t* count);
  double (*sum_above_f64)(const double* in, int64_t n, double threshold, int64_t* count);

  // The inner product, in float64, of x and a row of any element type; of the row and itself where x is null.
  double (*wide_dot)(DType dtype, const double* x, const void* row, int64_t n);

  // acc[i] += weight * row[i].
  void (*axpy_f32)(DType dtype, float weight, const void* row, int64_t n, float* acc);
  void (*axpy_f64)(DType dtype, double weight, const void* row, int64_t n, double* acc);

  double (*dot)(const double* x, const double* y, int64_t n);
  // gram[i * ld_gram + j] += rows[i] . rows[j] for j <= i < n.
  void (*gram)(const double* rows, int64_t n, int64_t length, int64_t ld, double* gram, int64_t ld_gram);
  // (x, y) = (c x - s y, s x + c y): one Jacobi rotation.
  void (*rotate)(double* x, double* y, int64_t n, double c, double s);
};

const Kernels& kernels_portable();
#if defined(__x86_64__)
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
#endif

// The table in use: the widest that this CPU runs, or the one forced through salt_set_cpu_isa.
const Kernels& kernels();

}  // namespace salt
