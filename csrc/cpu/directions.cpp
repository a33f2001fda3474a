#include "directions.h"

#include <algorithm>
#include <cmath>

#include "../common/check.h"
#include "parallel.h"
#include "simd/kernels.h"

namespace salt {
namespace {

constexpr double kNotFinite = -1.0;
constexpr int64_t kChunk = 1024;

// The row's Euclidean norm, or kNotFinite.
double row_norm(const Kernels& kernel, const MatrixView& matrix, int64_t row) {
  // First try without scaling: right for all but extreme rows, and one pass.
  double sum = kernel.wide_dot(matrix.dtype, matrix.row(row), matrix.row(row), matrix.cols);
  if (sum > 1e-200 && sum < 1e200) {
    return std::sqrt(sum);
  }
  double chunk[kChunk];
  double largest = 0;
  for (int64_t begin = 0; begin < matrix.cols; begin += kChunk) {
    const int64_t n = std::min(kChunk, matrix.cols - begin);
    kernel.widen_f64(matrix.dtype, matrix.at(row, begin), n, chunk);
    for (int64_t i = 0; i < n; ++i) {
      if (!std::isfinite(chunk[i])) {
        return kNotFinite;
      }
      largest = std::max(largest, std::abs(chunk[i]));
    }
  }
  if (largest == 0) {
    return 0;
  }
  sum = 0;
  for (int64_t begin = 0; begin < matrix.cols; begin += kChunk) {
    const int64_t n = std::min(kChunk, matrix.cols - begin);
    kernel.widen_f64(matrix.dtype, matrix.at(row, begin), n, chunk);
    for (int64_t i = 0; i < n; ++i) {
      chunk[i] /= largest;
    }
    sum += kernel.dot(chunk, chunk, n);
  }
  return largest * std::sqrt(sum);
}

// The norm of every row that `used` names (0 for the others; all rows where it is empty).
std::vector<double> finite_norms(const MatrixView& matrix, const char* argument, const std::vector<char>& used = {}) {
  const Kernels& kernel = kernels();
  std::vector<double> norms(static_cast<size_t>(matrix.rows));
  Least bad_row;
  share_evenly(threads_for(static_cast<double>(matrix.rows) * matrix.cols), matrix.rows, [&](int64_t row) {
    if (!used.empty() && used[static_cast<size_t>(row)] == 0) {
      return;
    }
    const double norm = row_norm(kernel, matrix, row);
    norms[static_cast<size_t>(row)] = norm;
    if (norm == kNotFinite) {
      bad_row.tell(row);
    }
  });
  SALT_CHECK(bad_row.value() >= matrix.rows, argument, ": found NaN or infinity in row ", bad_row.value(),
             ", expected finite values");
  return norms;
}

}  // namespace

Directions unit_directions(const MatrixView& matrix, const char* argument) {
  const std::vector<double> norms = finite_norms(matrix, argument);
  Directions directions{matrix, {}, {}};
  directions.valid.reserve(norms.size());
  directions.inverse_norm.reserve(norms.size());
  for (int64_t row = 0; row < matrix.rows; ++row) {
    const double norm = norms[static_cast<size_t>(row)];
    if (norm > 0) {
      directions.valid.push_back(row);
      directions.inverse_norm.push_back(1 / norm);
    }
  }
  return directions;
}

Directions raw_directions(const MatrixView& matrix, const char* argument) {
  check_finite(matrix, argument);
  Directions directions{matrix, std::vector<int64_t>(static_cast<size_t>(matrix.rows)),
                        std::vector<double>(static_cast<size_t>(matrix.rows), 1.0)};
  for (int64_t row = 0; row < matrix.rows; ++row) {
    directions.valid[static_cast<size_t>(row)] = row;
  }
  return directions;
}

void check_finite(const MatrixView& matrix, const char* argument) { finite_norms(matrix, argument); }

void check_finite_rows(const MatrixView& matrix, const char* argument, const std::vector<char>& used) {
  finite_norms(matrix, argument, used);
}

}  // namespace salt
