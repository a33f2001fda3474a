// The Gram matrix and the right-hand side of one row of lstsq_weights, built by one block.
#pragma once

#include "ldl.cuh"
#include "row_source.cuh"

namespace salt::cuda {

// What a block works with, in shared or global memory: the matrix, then five vectors.
struct RowSystem {
  TiledMatrix matrix;
  double* inverse_pivots;
  double* rhs;
  double* solution;
  double* step;
  double* work;

  __device__ __forceinline__ RowSystem(double* memory, int n) : matrix{memory, n} {
    const int64_t tiles = matrix.tiles();
    inverse_pivots = memory + tiled_doubles(tiles);
    rhs = inverse_pivots + tiles * kTile;
    solution = rhs + tiles * kTile;
    step = solution + tiles * kTile;
    work = step + tiles * kTile;
  }
};

constexpr int64_t system_doubles(int64_t tiles) { return tiled_doubles(tiles) + 5 * tiles * kTile; }

// A tile of the Gram matrix becomes final: scaled, filled up with the identity.
template <class Element>
__device__ __forceinline__ double scaled(const RowSource<Element>& source, int n, int i, int j, double value) {
  return i < n && j < n ? value * source.scale(i) * source.scale(j) : i == j ? 1.0 : 0.0;
}

// One warp: a tile on the diagonal and the right-hand side beside it.
template <class Element>
__device__ __forceinline__ void diagonal_tile(const RowSource<Element>& source, const RowSystem& system, int row) {
  const int n = system.matrix.n;
  const int first = row * kTile;
  double* out = system.matrix.tile(row, row);
  Tile tile;
  double rhs[4] = {};
  gram_of_anchors(source, n, first, tile, rhs);
  for_elements(tile, [&](int i, int j, double value) {
    if (i < 16 && j >= 16) {
      return;  // the mirror image of what was computed
    }
    value = scaled(source, n, first + i, first + j, value);
    out[i * kTileStride + j] = value;
    if (i >= 16 && j < 16) {
      out[j * kTileStride + i] = value;
    }
  });
#pragma unroll
  for (int b = 0; b < 4; ++b) {
    const int i = first + 8 * b + lane_index() / 4;
    double value = rhs[b];
    value += __shfl_xor_sync(kAllLanes, value, 1);
    value += __shfl_xor_sync(kAllLanes, value, 2);
    if (lane_index() % 4 == 0) {
      system.rhs[i] = i < n ? value * source.scale(i) : 0.0;
    }
  }
}

// Calls body(row, column) for the tiles of the lower triangle, each in one warp.
template <class Body>
__device__ __forceinline__ void for_tiles(const TiledMatrix& matrix, Body body) {
  for (int row = 0, item = 0; row < matrix.tiles(); ++row) {
    for (int column = 0; column <= row; ++column, ++item) {
      if (item % warps_of_block() == warp_index()) {
        body(row, column);
      }
    }
  }
}

// The whole block: A A^T and A q.
template <bool kOneTile, class Element>
__device__ __forceinline__ void build_system_of_anchors(const RowSource<Element>& source, const RowSystem& system) {
  if constexpr (kOneTile) {
    diagonal_tile(source, system, 0);
    return;
  }
  for_tiles(system.matrix, [&](int row, int column) {
    if (row == column) {
      diagonal_tile(source, system, row);
      return;
    }
    const int n = system.matrix.n;
    double* out = system.matrix.tile(row, column);
    Tile tile;
    gram_of_anchors(source, n, row * kTile, column * kTile, tile);
    for_elements(tile, [&](int i, int j, double value) {
      out[i * kTileStride + j] = scaled(source, n, row * kTile + i, column * kTile + j, value);
    });
  });
}

// The whole block: A^T A and q.
template <class Element>
__device__ __forceinline__ void build_system_of_columns(const RowSource<Element>& source, const RowSystem& system) {
  const int n = system.matrix.n;
  for_tiles(system.matrix, [&](int row, int column) {
    double* out = system.matrix.tile(row, column);
    Tile tile;
    gram_of_columns(source, n, row * kTile, column * kTile, tile);
    for_elements(tile, [&](int i, int j, double value) {
      const bool inside = row * kTile + i < n && column * kTile + j < n;
      out[i * kTileStride + j] = inside ? value : row * kTile + i == column * kTile + j ? 1.0 : 0.0;
    });
  });
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    system.rhs[i] = source.centred(source.query, i);
  }
}

}  // namespace salt::cuda
