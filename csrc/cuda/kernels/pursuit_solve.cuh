// Substitution with a Cholesky factor that is packed by rows in global memory, by one block, on a vector in shared
// memory. 32 unknowns at a time: one warp solves them from registers, then all warps take them out of the rest. So the
// chain of dependent steps is one shuffle and two multiplications for each unknown, and two barriers for 32.
#pragma once

#include "block.cuh"

namespace salt::cuda {

constexpr int kLoadedAhead = 16;  // entries of a factor's row: their latency is no part of the chain

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
      for (int begin = 0; begin < size; begin += kLoadedAhead) {
        double entries[kLoadedAhead];
#pragma unroll
        for (int i = 0; i < kLoadedAhead; ++i) {
          entries[i] = inside && begin + i < lane ? row[begin + i] : 0;
        }
#pragma unroll
        for (int i = 0; i < kLoadedAhead; ++i) {
          value = begin + i == lane ? value * inverse : value;
          value = fma(-entries[i], __shfl_sync(kAllLanes, value, begin + i), value);
        }
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
      for (int begin = (size - 1) / kLoadedAhead * kLoadedAhead; begin >= 0; begin -= kLoadedAhead) {
        double entries[kLoadedAhead];
#pragma unroll
        for (int i = 0; i < kLoadedAhead; ++i) {
          const int row = begin + i;
          entries[i] = row < size && lane < row ? factor[packed_row(first + row) + first + lane] : 0;
        }
#pragma unroll
        for (int i = kLoadedAhead - 1; i >= 0; --i) {
          value = begin + i == lane ? value * inverse : value;
          value = fma(-entries[i], __shfl_sync(kAllLanes, value, begin + i), value);
        }
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
