// Substitution with a Cholesky factor that is packed by rows in global memory, by one block, on a vector in shared
// memory. 32 unknowns at a time: one warp solves them from registers, then all warps take them out of the rest. So the
// chain of dependent steps is one shuffle and two multiplications for each unknown, and two barriers for 32.
#pragma once

#include "block.cuh"

namespace salt::cuda {

__host__ __device__ constexpr int64_t packed_row(int64_t row) { return row * (row + 1) / 2; }

// x becomes the solution of factor x = x. All threads; begins and ends with a barrier.
__device__ __forceinline__ void substitute_forward(const double* factor, double* x, int n) {
  const int lane = lane_index();
  __syncthreads();
  for (int first = 0; first < n; first += kWarpSize) {
    const int size = min(kWarpSize, n - first);
    if (warp_index() == 0) {
      const bool inside = lane < size;
      const double* row = factor + packed_row(first + lane) + first;
      double value = inside ? x[first + lane] : 0;
      const double inverse = inside ? 1 / row[lane] : 0;
#pragma unroll 8
      for (int i = 0; i < size; ++i) {
        const double factor_entry = inside && i < lane ? row[i] : 0;
        value = i == lane ? value * inverse : value;
        value = fma(-factor_entry, __shfl_sync(kAllLanes, value, i), value);
      }
      if (inside) {
        x[first + lane] = value;
      }
    }
    __syncthreads();
    for (int row = first + kWarpSize + warp_index(); row < n; row += warps_of_block()) {
      const double product = factor[packed_row(row) + first + lane] * x[first + lane];
      const double sum = warp_reduce(product, Sum{});
      if (lane == 0) {
        x[row] -= sum;
      }
    }
    __syncthreads();
  }
}

// x becomes the solution of factor^T x = x. All threads; begins and ends with a barrier.
__device__ __forceinline__ void substitute_backward(const double* factor, double* x, int n) {
  const int lane = lane_index();
  __syncthreads();
  for (int first = (n - 1) / kWarpSize * kWarpSize; first >= 0; first -= kWarpSize) {
    const int size = min(kWarpSize, n - first);
    if (warp_index() == 0) {
      const bool inside = lane < size;
      double value = inside ? x[first + lane] : 0;
      const double inverse = inside ? 1 / factor[packed_row(first + lane) + first + lane] : 0;
#pragma unroll 8
      for (int i = size - 1; i >= 0; --i) {
        const double factor_entry = lane < i ? factor[packed_row(first + i) + first + lane] : 0;
        value = i == lane ? value * inverse : value;
        value = fma(-factor_entry, __shfl_sync(kAllLanes, value, i), value);
      }
      if (inside) {
        x[first + lane] = value;
      }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < first; i += static_cast<int>(blockDim.x)) {
      double value = x[i];
#pragma unroll 8
      for (int row = first; row < first + size; ++row) {
        value = fma(-factor[packed_row(row) + i], x[row], value);
      }
      x[i] = value;
    }
    __syncthreads();
  }
}

}  // namespace salt::cuda
