#include "kernels/findings.cuh"
#include "kernels/norms.cuh"
#include "runtime/launch.h"
#include "scores.h"

namespace salt::cuda {
namespace {

__global__ void start(long long* bad_row) { *bad_row = kNothingFound; }

void normalise(const Context& context, const MatrixView& matrix, const char* argument, int64_t width, __half* unit,
               double* norms) {
  const Buffer<long long> bad_row = context.allocate<long long>(1);
  launch(context, start, {1, 1}, bad_row.data());
  with_element(matrix.dtype, [&]<class Element>() {
    launch(context, normalise_rows<Element>, {blocks_for(matrix.rows, kNormThreads / kWarpSize), kNormThreads}, matrix,
           width, unit, norms, bad_row.data());
  });
  if (!context.capturing()) {
    const long long bad = context.read(bad_row.data());
    SALT_CHECK(bad == kNothingFound, argument, ": found NaN or infinity in row ", bad, ", expected finite values");
  }
}

// torch lets float16 products sum in float16 where they are split over blocks; the error bound does not.
class Float32Sums {
 public:
  explicit Float32Sums(cublasHandle_t handle) : handle_(handle) {
    SALT_CALL(cublasGetMathMode(handle_, &before_));
    SALT_CALL(cublasSetMathMode(handle_, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
  }
  ~Float32Sums() { cublasSetMathMode(handle_, before_); }
  Float32Sums(const Float32Sums&) = delete;
  Float32Sums& operator=(const Float32Sums&) = delete;

 private:
  cublasHandle_t handle_;
  cublasMath_t before_ = CUBLAS_DEFAULT_MATH;
};

}  // namespace

UnitRows unit_rows(const Context& context, const MatrixView& matrix, const char* argument) {
  UnitRows result{matrix, unit_width(matrix.cols), {}, {}};
  const int64_t padding = (padded_rows(matrix.rows) - matrix.rows) * result.width;
  result.unit = context.allocate<__half>(matrix.rows * result.width + padding);
  context.fill(result.unit.data() + matrix.rows * result.width, 0, static_cast<size_t>(padding) * sizeof(__half));
  result.norm = context.allocate<double>(matrix.rows);
  normalise(context, matrix, argument, result.width, result.unit.data(), result.norm.data());
  return result;
}

void check_finite(const Context& context, const MatrixView& matrix, const char* argument) {
  const Buffer<double> norms = context.allocate<double>(matrix.rows);
  normalise(context, matrix, argument, 0, nullptr, norms.data());
}

void score_tile(const Context& context, const __half* queries, int64_t query_count, const __half* keys,
                int64_t key_count, int64_t width, __half* tile, int64_t stride) {
  if (query_count == 0 || key_count == 0) {
    return;
  }
  if (width == 0) {
    context.fill(tile, 0, static_cast<size_t>(query_count * stride) * sizeof(__half));
    return;
  }
  const cublasHandle_t handle = context.blas();
  const Float32Sums sums(handle);
  const float one = 1;
  const float zero = 0;
  // cuBLAS counts by columns: its C [keys, queries] is this tile [queries, keys].
  SALT_CALL(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(key_count), static_cast<int>(query_count),
                         static_cast<int>(width), &one, keys, CUDA_R_16F, static_cast<int>(width), queries, CUDA_R_16F,
                         static_cast<int>(width), &zero, tile, CUDA_R_16F, static_cast<int>(stride), CUBLAS_COMPUTE_32F,
                         CUBLAS_GEMM_DEFAULT));
}

}  // namespace salt::cuda
