// W with W G W^T = D for a symmetric positive definite matrix G in tiles: the inverse of the unit lower triangle of
// G = L D L^T, by elimination on G and the identity at once, in G's own place.
//
// The inverse rather than the triangle: it gives trace(G^-1) for the condition test, and solving is then two products
// instead of 2 n dependent steps. All but the tiles on the diagonal is products of tiles on tensor cores.
#pragma once

#include "gram.cuh"

namespace salt::cuda {

// The lower triangle of tiles, row by row; tiles on the diagonal are full. In shared or global memory.
struct TiledMatrix {
  double* data = nullptr;
  int n = 0;

  __device__ __forceinline__ int tiles() const { return (n + kTile - 1) / kTile; }
  __device__ __forceinline__ double* tile(int row, int column) const {
    return data + (static_cast<int64_t>(row) * (row + 1) / 2 + column) * kTileDoubles;
  }
  __device__ __forceinline__ double& at(int row, int column) const {
    return tile(row / kTile, column / kTile)[row % kTile * kTileStride + column % kTile];
  }
};

constexpr int64_t tiled_doubles(int64_t tiles) { return tiles * (tiles + 1) / 2 * kTileDoubles; }

// tile = (a with its columns scaled by `scales`, null: 1) times b (kTransposed: b^T).
template <bool kTransposed>
__device__ __forceinline__ void multiply(const double* a, const double* scales, const double* b, Tile& tile) {
  const int group = lane_index() / 4;
  const int member = lane_index() % 4;
#pragma unroll
  for (int inner = 0; inner < kTile; inner += kSlice) {
    double left[4][4];
    double right[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        const int at = inner + 4 * s + member;
        const double value = a[(8 * r + group) * kTileStride + at];
        left[r][s] = scales == nullptr ? value : value * scales[at];
        right[r][s] = kTransposed ? b[(8 * r + group) * kTileStride + at] : b[at * kTileStride + 8 * r + group];
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      add_product(left, right[j], j, true, tile);
    }
  }
}

// Every lane must have read what the tile replaces.
__device__ __forceinline__ void store(const Tile& tile, double sign, double* out) {
  __syncwarp();
  for_elements(tile, [&](int row, int column, double value) { out[row * kTileStride + column] = sign * value; });
  __syncwarp();
}

__device__ __forceinline__ void subtract(const Tile& tile, double* out) {
  for_elements(tile, [&](int row, int column, double value) { out[row * kTileStride + column] -= value; });
}

// One warp, one tile: W replaces it, `inverse_pivots` gets 1 / D. Rows from `size` on must be those of the identity.
// False where a pivot is not positive. `pivot_rows`: 2 x 32 doubles of shared memory.
//
// Lane i owns row i. The columns move down by one register per step, so that the pivot's is always the first and no
// register is indexed at run time; the column of the inverse that a step adds takes the place that falls free.
__device__ __forceinline__ bool eliminate(double* tile, int size, double* inverse_pivots, double* pivot_rows) {
  const int lane = lane_index();
  double* own = tile + lane * kTileStride;
  double row[kTile];
#pragma unroll
  for (int c = 0; c < kTile; ++c) {
    row[c] = own[c];
  }
  double inverse = 1;
  for (int step = 0; step < size; ++step) {
    double* pivot_row = pivot_rows + step % 2 * kTile;  // two in turn: one barrier per step suffices
    if (lane == step) {
#pragma unroll
      for (int c = 0; c < kTile; ++c) {
        pivot_row[c] = row[c];
      }
    }
    __syncwarp();
    const double pivot = pivot_row[0];
    if (!(pivot > 0)) {
      return false;
    }
    const double reciprocal = 1 / pivot;
    inverse = lane == step ? reciprocal : inverse;
    const double factor = lane > step ? row[0] * reciprocal : 0.0;
#pragma unroll
    for (int c = 1; c < kTile; ++c) {
      row[c - 1] = fma(-factor, pivot_row[c], row[c]);
    }
    row[kTile - 1] = lane == step ? 1.0 : -factor;
  }
#pragma unroll
  for (int c = 0; c < kTile; ++c) {
    own[(c + size) % kTile] = row[c];
  }
  inverse_pivots[lane] = inverse;
  return true;
}

// The whole block: W in place of G, 1 / D in inverse_pivots. False where a pivot is not positive; `good` is shared
// memory. Step by step: tile row `step` becomes final, then its multiples leave the rows below. With M the column of
// tiles below the diagonal, M D^-1 are the multiples; M is needed until the last of them is subtracted and becomes a
// column of W then, while the next diagonal tile is already eliminated.
template <bool kOneTile>
__device__ __forceinline__ bool factorise(const TiledMatrix& matrix, double* inverse_pivots, double* pivot_rows,
                                          int* good) {
  if constexpr (kOneTile) {  // and one warp
    const bool positive = eliminate(matrix.data, matrix.n, inverse_pivots, pivot_rows);
    __syncthreads();
    return positive;
  }
  const int count = matrix.tiles();
  const int warps = warps_of_block();
  for (int step = 0; step < count; ++step) {
    double* diagonal = matrix.tile(step, step);
    if (warp_index() == 0) {
      const bool positive =
          eliminate(diagonal, min(kTile, matrix.n - step * kTile), inverse_pivots + step * kTile, pivot_rows);
      if (lane_index() == 0) {
        *good = static_cast<int>(positive);
      }
    } else if (step > 0) {
      for (int row = step - 1 + warp_index(); row < count; row += warps - 1) {
        Tile tile;
        multiply<false>(matrix.tile(row, step - 1), inverse_pivots + (step - 1) * kTile,
                        matrix.tile(step - 1, step - 1), tile);
        store(tile, -1.0, matrix.tile(row, step - 1));
      }
    }
    __syncthreads();
    if (*good == 0) {
      return false;
    }
    for (int other = warp_index(); other < count; other += warps) {
      Tile tile;
      if (other < step) {
        multiply<false>(diagonal, nullptr, matrix.tile(step, other), tile);
        store(tile, 1.0, matrix.tile(step, other));
      } else if (other > step) {
        multiply<true>(matrix.tile(other, step), nullptr, diagonal, tile);
        store(tile, 1.0, matrix.tile(other, step));
      }
    }
    __syncthreads();
    int turn = 0;
    for (int row = step + 1; row < count; ++row) {
      for (int column = 0; column <= row; ++column) {
        if (column != step && turn++ % warps == warp_index()) {
          Tile tile;
          const double* scales = inverse_pivots + step * kTile;
          if (column < step) {
            multiply<false>(matrix.tile(row, step), scales, matrix.tile(step, column), tile);
          } else {
            multiply<true>(matrix.tile(row, step), scales, matrix.tile(column, step), tile);
          }
          subtract(tile, matrix.tile(row, column));
        }
      }
    }
    __syncthreads();
  }
  return true;
}

// trace(G^-1) = sum of W[row, column]^2 / D[row]: a bound on one over the smallest eigenvalue.
__device__ __forceinline__ double inverse_trace(const TiledMatrix& w, const double* inverse_pivots, double* scratch) {
  double sum = 0;
  for (int row = warp_index(); row < w.n; row += warps_of_block()) {
    double squares = 0;
    for (int column = lane_index(); column <= row; column += kWarpSize) {
      const double value = w.at(row, column);
      squares = fma(value, value, squares);
    }
    sum = fma(squares, inverse_pivots[row], sum);
  }
  return block_reduce(sum, Sum{}, 0.0, scratch);
}

// x = W^T D^-1 W b by the whole block; `work` and b have room for n numbers. Ends with a barrier.
__device__ __forceinline__ void solve(const TiledMatrix& w, const double* inverse_pivots, const double* b, double* work,
                                      double* x) {
  for (int row = threadIdx.x; row < w.n; row += blockDim.x) {
    double sum = 0;
    for (int column = 0; column <= row; ++column) {
      sum = fma(w.at(row, column), b[column], sum);
    }
    work[row] = sum * inverse_pivots[row];
  }
  __syncthreads();
  for (int column = threadIdx.x; column < w.n; column += blockDim.x) {
    double sum = 0;
    for (int row = column; row < w.n; ++row) {
      sum = fma(w.at(row, column), work[row], sum);
    }
    x[column] = sum;
  }
  __syncthreads();
}

}  // namespace salt::cuda
