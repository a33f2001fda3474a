// Norms of rows, safe against overflow, and the rows as unit vectors.
#pragma once

#include "../../common/views.h"
#include "block.cuh"
#include "elements.cuh"

namespace salt::cuda {

// Sum of (row[d] / scale)^2 by one warp; the same in every lane.
template <class Element>
__device__ __forceinline__ double warp_squared_norm(const Element* row, int64_t count, double scale) {
  double sum = 0;
  for (int64_t d = lane_index(); d < count; d += kWarpSize) {
    const double value = to_double(row[d]) / scale;
    sum = fma(value, value, sum);
  }
  return warp_reduce(sum, Sum{});
}

// The row's norm, or -1 where an element is NaN or infinite.
template <class Element>
__device__ __forceinline__ double warp_norm(const Element* row, int64_t count) {
  // First without scaling: right for all but extreme rows, and one pass.
  const double squared = warp_squared_norm(row, count, 1.0);
  if (squared > 1e-200 && squared < 1e200) {
    return sqrt(squared);
  }
  double largest = 0;
  int finite = 1;
  for (int64_t d = lane_index(); d < count; d += kWarpSize) {
    const double value = fabs(to_double(row[d]));
    finite &= static_cast<int>(isfinite(value));
    largest = largest < value ? value : largest;
  }
  if (!__all_sync(kAllLanes, finite)) {
    return -1;
  }
  largest = warp_reduce(largest, Max{});
  return largest == 0 ? 0 : largest * sqrt(warp_squared_norm(row, count, largest));
}

constexpr int kNormThreads = 128;

// One warp per row. `unit` (may be null) gets the unit vectors; `bad_row` the lowest row that is not finite.
template <class Element>
__global__ void __launch_bounds__(kNormThreads)
    normalise_rows(MatrixView matrix, int64_t width, __half* unit, double* norms, long long* bad_row) {
  for (int64_t row = warp_of_grid(); row < matrix.rows; row += warps_of_grid()) {
    const Element* values = static_cast<const Element*>(matrix.row(row));
    const double norm = warp_norm(values, matrix.cols);
    if (lane_index() == 0) {
      norms[row] = norm;
      if (norm < 0) {
        atomicMin(bad_row, static_cast<long long>(row));
      }
    }
    if (unit != nullptr) {
      for (int64_t d = lane_index(); d < width; d += kWarpSize) {
        const double value = d < matrix.cols && norm > 0 ? to_double(values[d]) / norm : 0.0;
        unit[row * width + d] = round_to<__half>(value);
      }
    }
  }
}

}  // namespace salt::cuda
