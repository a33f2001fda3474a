// The innermost loops, one table of them per instruction set. Each table is compiled in its own file with its own flags
// (kernels_portable.cpp, kernels_avx2.cpp, kernels_avx512.cpp) from one generic source (generic.inl.h);
// kernels_avx512_vnni.cpp adds to the last. dispatch.cpp picks one at run time. Pointers may have any alignment. No
// kernel allocates, and no kernel reads past what it is told.
#pragma once

#include <cstdint>

#include "../../common/dtype.h"

namespace salt {

// Blocking of the packed matrix product: panels of `mr` left rows and `nr` right rows (at most 32), splits of the depth
// of at most `kc`.
struct Blocking {
  int64_t mr;
  int64_t nr;
  int64_t kc;
};

// The same of the products of eight-bit integers, whose depth is never split; mr = 0 where a table has none.
struct Blocking8 {
  int64_t mr;
  int64_t nr;
};

// A multiple of every table's lanes of float64: rows of small matrices are padded to it.
constexpr int64_t kMatrixLanes = 8;

struct Kernels {
  const char* isa;
  Blocking f32;
  Blocking f64;
  Blocking8 s8;

  // out[i] = widened in[i]; exact for every pair of types here except float64 -> float32, which rounds to nearest.
  void (*widen_f32)(DType dtype, const void* in, int64_t n, float* out);
  void (*widen_f64)(DType dtype, const void* in, int64_t n, double* out);
  // out[i] = in[i] rounded to nearest even.
  void (*narrow_f32)(DType dtype, const float* in, int64_t n, void* out);
  void (*narrow_f64)(DType dtype, const double* in, int64_t n, void* out);

  // One panel of `width` rows side by side, each times its scale: out[d * width + r] = rows[r][d] * scales[r].
  void (*pack_f32)(const void* const* rows, const float* scales, int64_t depth, int64_t width, float* out);
  void (*pack_f64)(const void* const* rows, const double* scales, int64_t depth, int64_t width, double* out);

  // C (mr x nr, leading dimension ldc) = or += A B^T of one panel each: A holds depth x mr values, B depth x nr.
  // Accumulates in the type of C, in the order of the depth. Meanwhile as many elements at `ahead` are brought into the
  // cache; any address will do.
  void (*gemm_f32)(int64_t depth, const float* a, const float* b, float* c, int64_t ldc, bool accumulate,
                   const void* ahead);
  void (*gemm_f64)(int64_t depth, const double* a, const double* b, double* c, int64_t ldc, bool accumulate,
                   const void* ahead);

  // One row of what gemm_f32 gives, to the bit, whichever row of A it was: A holds depth values.
  void (*gemm_row_f32)(int64_t depth, const float* a, const float* b, float* c, bool accumulate);

  // For each row i of C (mr x nr): bit j of marks[i * ld_marks] tells whether element j, or with `either_sign` its
  // magnitude, exceeds thresholds[i].
  void (*mark_f32)(const float* c, int64_t ldc, const float* thresholds, bool either_sign, uint32_t* marks,
                   int64_t ld_marks);
  void (*mark_f64)(const double* c, int64_t ldc, const double* thresholds, bool either_sign, uint32_t* marks,
                   int64_t ld_marks);

  // The sum in float64 of what exceeds the threshold; `count` becomes how many.
  double (*sum_above_f32)(const float* in, int64_t n, double threshold, int64_t* count);
  double (*sum_above_f64)(const double* in, int64_t n, double threshold, int64_t* count);

  // The inner product, in float64, of two rows of any element type.
  double (*wide_dot)(DType dtype, const void* x, const void* y, int64_t n);

  // The inner product of a row of any element type with x.
  double (*row_dot)(DType dtype, const void* row, const double* x, int64_t n);

  // acc[i] += weight * row[i].
  void (*axpy_f64)(DType dtype, double weight, const void* row, int64_t n, double* acc);

  // out[i] = sum over e < count, in this order, of weights[e] * table[rows[e]][i], narrowed to `dtype`, the table's
  // own. Rows lie row_bytes apart and have `width` elements.
  void (*combine_f32)(DType dtype, const void* table, int64_t row_bytes, const int64_t* rows, const float* weights,
                      int64_t count, int64_t width, void* out);
  void (*combine_f64)(DType dtype, const void* table, int64_t row_bytes, const int64_t* rows, const double* weights,
                      int64_t count, int64_t width, void* out);

  double (*dot)(const double* x, const double* y, int64_t n);
  // out[j * ld_out + i] += rows[i] . rows[j] for i < n and j <= i, j < common: the upper triangle of the products of
  // the first `common` rows, and beside it their products with the others. A product is the same number wherever its
  // rows stand.
  void (*gram)(const double* rows, int64_t n, int64_t common, int64_t length, int64_t ld, double* out, int64_t ld_out);

  // Cholesky of a symmetric matrix of which the upper triangle is given, row by row; ld is a multiple of kMatrixLanes
  // and at least n, and what lies below the diagonal or past column n is finite. The factor U (matrix = U^T U) takes
  // the upper triangle's place, with one over each entry on its diagonal.
  bool (*cholesky_factor)(int64_t n, int64_t ld, double* matrix);  // false: a pivot is not positive
  // x = (U^T U)^-1 rhs; both are ld long, rhs is destroyed.
  void (*cholesky_solve)(int64_t n, int64_t ld, const double* factor, double* rhs, double* x);
  // trace((U^T U)^-1) = ||U^-1||_F^2, a bound on one over the smallest eigenvalue, and a number that is not smaller and
  // takes n^2 operations instead of n^3. The workspace has room for 2 ld numbers.
  double (*inverse_trace)(int64_t n, int64_t ld, const double* factor, double* workspace);
  double (*inverse_trace_bound)(int64_t n, int64_t ld, const double* factor, double* workspace);
  // (x, y) = (c x - s y, s x + c y): one Jacobi rotation.
  void (*rotate)(double* x, double* y, int64_t n, double c, double s);

  // The three of eight bits are null where s8.mr is 0.
  // The largest magnitude of a row.
  double (*largest)(DType dtype, const void* row, int64_t n);
  // out[i] = row[i] * factor, of magnitude at most 127, rounded to nearest; zeros up to a multiple of 8, for which
  // there is room. Returns the sum of the squares of what rounding took away.
  double (*quantise)(DType dtype, const void* row, int64_t n, double factor, int8_t* out);
  // C (mr x nr) = start[i] + A B^T of one panel each: element d of row i of A is at a[(d / 4 * mr + i) * 4 + d % 4], of
  // row j of B at b[(d / 4 * nr + j) * 4 + d % 4]; depth is a multiple of 4. Marks as mark_f32 sets them; a row of C
  // without a mark is not written. Meanwhile as much as a panel of B at `ahead` is brought into the cache.
  void (*gemm_s8)(int64_t depth, const int8_t* a, const uint8_t* b, const int32_t* start, const int32_t* thresholds,
                  bool either_sign, int32_t* c, int64_t ldc, uint32_t* marks, int64_t ld_marks, const uint8_t* ahead);
};

const Kernels& kernels_portable();
#if defined(__x86_64__)
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
// The table of AVX-512 and what VNNI adds to it.
Kernels with_avx512_vnni(Kernels table);
#endif

// The table in use: the widest that this CPU runs, or the one forced through salt_set_cpu_isa.
const Kernels& kernels();

}  // namespace salt
