// Gram matrices of gathered rows in float64, 32 x 32 entries by one warp at a time.
//
// Operands never pass through shared memory: a fragment of the tensor core is eight rows by four numbers, and since the
// inner dimension may be permuted, a lane's four numbers may be neighbours in memory. One load per lane and row brings
// them, 64 bytes of each of eight float32 rows; they are converted once and serve as left and right operand.
#pragma once

#include "dmma.cuh"
#include "row_source.cuh"

namespace salt::cuda {

constexpr int kTile = 32;        // rows and columns of a tile
constexpr int kTileStride = 36;  // between its rows in memory: 4 beyond a multiple of 16, so that no banks collide
constexpr int kTileDoubles = kTile * kTileStride;
constexpr int kSlice = 16;  // elements of the inner dimension per step

// A tile spread over a warp: c[i][j] as multiply_add has it, rows 16 i and columns 8 j on.
struct Tile {
  double c[2][4][4] = {};
};

// Calls body(row, column, value) for every element of the lane.
template <class Body>
__device__ __forceinline__ void for_elements(const Tile& tile, Body body) {
  const int group = lane_index() / 4;
  const int member = lane_index() % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        body(16 * i + group + e / 2 * 8, 8 * j + 2 * member + e % 2, tile.c[i][j][e]);
      }
    }
  }
}

// Column j of tile += a b_j^T. `all`: whether the lower half of a's rows is needed.
__device__ __forceinline__ void add_product(const double (&a)[4][4], const double (&b)[4], int j, bool all,
                                            Tile& tile) {
  multiply_add(tile.c[0][j], a[0], a[1], b);
  if (all) {
    multiply_add(tile.c[1][j], a[2], a[3], b);
  }
}

// tile += a a^T without what lies right of the square halves on the diagonal.
__device__ __forceinline__ void add_square(const double (&a)[4][4], bool all, Tile& tile) {
  multiply_add(tile.c[0][0], a[0], a[1], a[0]);
  multiply_add(tile.c[0][1], a[0], a[1], a[1]);
  if (all) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      multiply_add(tile.c[1][j], a[2], a[3], a[j]);
    }
  }
}

// Up to `end`; zeros follow.
template <class Element>
__device__ __forceinline__ void read_quad(const Element* row, int d, int end, double (&out)[4]) {
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    out[s] = d + s < end ? to_double(row[d + s]) : 0.0;
  }
}

template <class Element>
__device__ __forceinline__ void widen(const Quad<Element>& quad, double (&out)[4]) {
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    out[s] = to_double(quad.values[s]);
  }
}

// The lane's part of up to 32 rows from `first` on: rows first + 8 b + lane / 4. Beyond the last row, the last again:
// what it adds to the tile is never looked at.
template <class Element>
struct Rows {
  const Element* row[4];

  __device__ __forceinline__ Rows(const RowSource<Element>& source, int n, int first) {
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      row[b] = source.row(min(first + 8 * b + lane_index() / 4, n - 1));
    }
  }
};

// What a lane takes off the inner dimension from d on.
template <class Element>
struct MeanQuad {
  double values[4];

  __device__ __forceinline__ MeanQuad(const RowSource<Element>& source, int d) {
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      values[s] = d + s < source.h ? source.mean[d + s] : 0.0;
    }
  }
  __device__ __forceinline__ void leave(double (&x)[4]) const {
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      x[s] -= values[s];
    }
  }
};

// Rows first.. of A times themselves, and rhs[b] += the lane's part of row b times the query; scales left out. The next
// slice is on its way while one is multiplied.
template <class Element>
__device__ __forceinline__ void gram_of_anchors(const RowSource<Element>& source, int n, int first, Tile& tile,
                                                double (&rhs)[4]) {
  const bool all = n - first > 16;
  const Rows<Element> rows(source, n, first);
  const int full = source.vectorised ? source.h / kSlice * kSlice : 0;
  int d = lane_index() % 4 * 4;
  double a[4][4];
  double query[4];
  const auto add = [&] {
    if (source.mean != nullptr) {
      const MeanQuad<Element> mean(source, d);
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        mean.leave(a[r]);
      }
      mean.leave(query);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        rhs[r] = fma(a[r][s], query[s], rhs[r]);
      }
    }
    add_square(a, all, tile);
  };
  Quad<Element> next[4];
  Quad<Element> next_query;
  const auto load = [&](int at) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      next[r] = load_quad(rows.row[r], at);
    }
    next_query = load_quad(source.query, at);
  };
  if (d < full) {
    load(d);
  }
  for (; d < full; d += kSlice) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      widen(next[r], a[r]);
    }
    widen(next_query, query);
    if (d + kSlice < full) {
      load(d + kSlice);
    }
    add();
  }
  for (; d - lane_index() % 4 * 4 < source.h; d += kSlice) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      read_quad(rows.row[r], d, source.h, a[r]);
    }
    read_quad(source.query, d, source.h, query);
    add();
  }
}

// Rows first_row.. of A times rows first_column.. before them.
template <class Element>
__device__ __forceinline__ void gram_of_anchors(const RowSource<Element>& source, int n, int first_row,
                                                int first_column, Tile& tile) {
  const bool all = n - first_row > 16;
  const Rows<Element> left(source, n, first_row);
  const Rows<Element> right(source, n, first_column);
  const int full = source.vectorised ? source.h / kSlice * kSlice : 0;
  int d = lane_index() % 4 * 4;
  double a[4][4];
  double b[4];
  Quad<Element> next_left[4];
  Quad<Element> next_right[4];
  if (d < full) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      next_left[r] = load_quad(left.row[r], d);
      next_right[r] = load_quad(right.row[r], d);
    }
  }
  for (; d < full; d += kSlice) {
    const int ahead = d + kSlice < full ? d + kSlice : d;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      widen(next_left[r], a[r]);
      next_left[r] = load_quad(left.row[r], ahead);
      if (source.mean != nullptr) {
        MeanQuad<Element>(source, d).leave(a[r]);
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      widen(next_right[j], b);
      next_right[j] = load_quad(right.row[j], ahead);
      if (source.mean != nullptr) {
        MeanQuad<Element>(source, d).leave(b);
      }
      add_product(a, b, j, all, tile);
    }
  }
  for (; d - lane_index() % 4 * 4 < source.h; d += kSlice) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      read_quad(left.row[r], d, source.h, a[r]);
      if (source.mean != nullptr) {
        MeanQuad<Element>(source, d).leave(a[r]);
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      read_quad(right.row[j], d, source.h, b);
      if (source.mean != nullptr) {
        MeanQuad<Element>(source, d).leave(b);
      }
      add_product(a, b, j, all, tile);
    }
  }
}

// The same for A^T A, scales applied: rows and columns of the tile are dimensions, the inner dimension the anchors.
template <class Element>
__device__ __forceinline__ void gram_of_columns(const RowSource<Element>& source, int n, int first_row,
                                                int first_column, Tile& tile) {
  for (int64_t begin = 0; begin < source.k; begin += kSlice) {
    double a[4][4];
    double b[4][4];
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      const int64_t i = begin + 4 * s + lane_index() % 4;
      const Element* row = source.row(min(i, source.k - 1));
      const double scale = i < source.k ? source.scale(i) : 0.0;
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        a[r][s] = scale * source.centred(row, min(first_row + 8 * r + lane_index() / 4, n - 1));
        b[r][s] = scale * source.centred(row, min(first_column + 8 * r + lane_index() / 4, n - 1));
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      add_product(a, b[j], j, true, tile);
    }
  }
}

}  // namespace salt::cuda
