// Rows of lstsq_weights whose Gram matrix cannot be trusted: Householder QR of the scaled anchors, then one-sided
// Jacobi on the triangle, one row by one block. Finds each singular value to about eps * sigma_max, where the Gram
// matrix loses all below sqrt(eps) * sigma_max (Demmel & Veselic 1992). The steps are those of cpu/svd.cpp.
#pragma once

#include "row_task.cuh"

namespace salt::cuda {

constexpr int kSvdThreads = 256;
constexpr double kEpsilon = 2.220446049250313e-16;
constexpr int kMaxSweeps = 60;  // ten suffice in practice; the bound only rules out an endless loop

__device__ __forceinline__ double warp_dot(const double* x, const double* y, int64_t count) {
  double sum = 0;
  for (int64_t i = lane_index(); i < count; i += kWarpSize) {
    sum = fma(x[i], y[i], sum);
  }
  return warp_reduce(sum, Sum{});
}

// x = (I - 2 v v^T) x by one warp.
__device__ __forceinline__ void reflect(const double* v, double* x, int64_t count) {
  const double projection = warp_dot(v, x, count);
  for (int64_t i = lane_index(); i < count; i += kWarpSize) {
    x[i] = fma(-2 * projection, v[i], x[i]);
  }
}

// `columns` vectors of m numbers each, the first n of which are factored: the unit reflector of vector j takes its
// place from position j on (zeros: none), and all later vectors become Q^T times themselves, the triangle's columns.
__device__ __forceinline__ void factorise_columns(double* vectors, int n, int columns, int64_t m, double* triangle,
                                                  double* scratch) {
  for (int j = 0; j < n; ++j) {
    double* x = vectors + j * m;
    double squares = 0;
    for (int64_t i = j + threadIdx.x; i < m; i += blockDim.x) {
      squares = fma(x[i], x[i], squares);
    }
    const double first = x[j];
    const double norm = sqrt(block_reduce(squares, Sum{}, 0.0, scratch));
    const double corner = first > 0 ? -norm : norm;
    const double length = sqrt(2 * norm * (norm + fabs(first)));  // of x - corner e_j
    double* column = triangle + static_cast<int64_t>(j) * n;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
      column[i] = i < j ? x[i] : i == j ? corner : 0.0;
    }
    for (int64_t i = j + threadIdx.x; i < m; i += blockDim.x) {
      const double value = i == j ? first - corner : x[i];
      x[i] = length > 0 ? value / length : 0.0;
    }
    __syncthreads();
    for (int later = j + 1 + warp_index(); later < columns; later += warps_of_block()) {
      reflect(x + j, vectors + later * m + j, m - j);
    }
    __syncthreads();
  }
}

// Rotates columns x and y (and the columns of V with them) until they are orthogonal; one warp. Whether they were not.
__device__ __forceinline__ bool orthogonalise(double* x, double* y, double* right_x, double* right_y, int n,
                                              double negligible) {
  const double xx = warp_dot(x, x, n);
  const double yy = warp_dot(y, y, n);
  const double xy = warp_dot(x, y, n);
  if (xx <= negligible || yy <= negligible || fabs(xy) <= 4 * kEpsilon * sqrt(xx) * sqrt(yy)) {
    return false;
  }
  const double zeta = (yy - xx) / (2 * xy);
  const double tangent = (zeta >= 0 ? 1.0 : -1.0) / (fabs(zeta) + sqrt(1 + zeta * zeta));
  const double cosine = 1 / sqrt(1 + tangent * tangent);
  const double sine = cosine * tangent;
  const auto rotate = [&](double* a, double* b) {
    for (int i = lane_index(); i < n; i += kWarpSize) {
      const double before = a[i];
      a[i] = cosine * before - sine * b[i];
      b[i] = sine * before + cosine * b[i];
    }
  };
  rotate(x, y);
  rotate(right_x, right_y);
  return true;
}

// R V = U S in the triangle's place: rounds of a tournament, in each of which every warp has pairs of its own.
__device__ __forceinline__ void diagonalise(double* triangle, double* right, int n, double* scratch) {
  double largest = 0;
  for (int i = warp_index(); i < n; i += warps_of_block()) {
    const double* column = triangle + static_cast<int64_t>(i) * n;
    largest = fmax(largest, warp_dot(column, column, n));
  }
  // A column this short is rounding error of the longest: its direction means nothing.
  const double negligible = block_reduce(largest, Max{}, 0.0, scratch) * kEpsilon * kEpsilon * 1e-4;
  for (int64_t e = threadIdx.x; e < static_cast<int64_t>(n) * n; e += blockDim.x) {
    right[e] = e / n == e % n ? 1.0 : 0.0;
  }
  __syncthreads();
  const int players = n + n % 2;  // with an odd number, whoever meets the last rests
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    int rotated = 0;
    for (int round = 0; round + 1 < players; ++round) {
      for (int pair = warp_index(); pair < players / 2; pair += warps_of_block()) {
        const int a = (round + pair) % (players - 1);
        const int b = pair == 0 ? players - 1 : (round + players - 1 - pair) % (players - 1);
        if (b < n && a < n) {
          const int64_t i = min(a, b);
          const int64_t j = max(a, b);
          rotated |= static_cast<int>(
              orthogonalise(triangle + i * n, triangle + j * n, right + i * n, right + j * n, n, negligible));
        }
      }
      __syncthreads();
    }
    if (block_reduce(rotated, Max{}, 0, reinterpret_cast<int*>(scratch)) == 0) {
      return;
    }
  }
}

// What a block works with: n + 1 vectors of m numbers, then 2 n; n x n twice, in shared or global memory.
constexpr int64_t svd_doubles(int64_t n, int64_t m) { return (n + 1) * m + 2 * n; }
constexpr int64_t svd_square_doubles(int64_t n) { return 2 * n * n; }

template <class Element>
__device__ __forceinline__ void solve_row_by_svd(const RowTask& task, int64_t row, double* vectors, double* squares,
                                                 double* scratch) {
  const RowSource<Element> source = source_of<Element>(task, row);
  const int n = source.unknowns();
  const bool by_anchors = source.by_anchors();
  const int64_t m = by_anchors ? source.h : source.k;
  double* last = vectors + n * m;  // the right-hand side, or what becomes the solution
  double* spectrum = last + m;
  double* gains = spectrum + n;
  double* triangle = squares;
  double* right = triangle + static_cast<int64_t>(n) * n;
  // The vectors are the columns of M [m, n]: A^T by anchors, A by dimensions.
  double trace = 0;
  for (int64_t i = warp_index(); i < source.k; i += warps_of_block()) {
    for (int64_t d = lane_index(); d < source.h; d += kWarpSize) {
      const double value = source.value(i, d);
      vectors[by_anchors ? i * m + d : d * m + i] = value;
      trace = fma(value, value, trace);
    }
  }
  for (int64_t d = threadIdx.x; by_anchors && d < m; d += blockDim.x) {
    last[d] = source.centred(source.query, d);
  }
  trace = block_reduce(trace, Sum{}, 0.0, scratch);
  const double lambda = task.ridge * trace / static_cast<double>(source.k);
  factorise_columns(vectors, n, by_anchors ? n + 1 : n, m, triangle, scratch);
  diagonalise(triangle, right, n, scratch);

  // By anchors the solution is V g U^T Q^T q, else Q U g V^T q, for the gains g of the values that are kept.
  double largest = 0;
  for (int i = warp_index(); i < n; i += warps_of_block()) {
    const double* left = triangle + static_cast<int64_t>(i) * n;
    const double* other = by_anchors ? left : right + static_cast<int64_t>(i) * n;
    double projection = 0;
    for (int c = lane_index(); c < n; c += kWarpSize) {
      projection = fma(other[c], by_anchors ? last[c] : source.centred(source.query, c), projection);
    }
    projection = warp_reduce(projection, Sum{});
    const double square = warp_dot(left, left, n);
    largest = fmax(largest, square);
    if (lane_index() == 0) {
      spectrum[i] = square + lambda;
      gains[i] = projection;
    }
  }
  largest = block_reduce(largest, Max{}, 0.0, scratch);
  const double rcond = cutoff(task, source.k);
  const double floor = rcond * rcond * (largest + lambda);
  for (int64_t c = threadIdx.x; c < m; c += blockDim.x) {
    double sum = 0;
    if (c < n) {
      for (int64_t i = 0; i < n; ++i) {
        if (spectrum[i] > floor) {
          sum = fma(gains[i] / spectrum[i], (by_anchors ? right : triangle)[i * n + c], sum);
        }
      }
    }
    last[c] = sum;
  }
  __syncthreads();
  if (!by_anchors && warp_index() == 0) {
    for (int64_t j = n - 1; j >= 0; --j) {
      reflect(vectors + j * m + j, last + j, m - j);
      __syncwarp();
    }
  }
  __syncthreads();
  finish_weights(source, last, task.intercept, task.weights + task.csr.begin(row), scratch);
}

// `squares_of_blocks`: null where the n x n matrices fit into shared memory.
template <class Element>
__global__ void __launch_bounds__(kSvdThreads)
    solve_list_by_svd(RowTask task, RowList list, double* workspaces, int64_t stride, double* squares_of_blocks,
                      int64_t squares_stride) {
  auto* scratch = reinterpret_cast<double*>(shared_memory());
  double* squares =
      squares_of_blocks == nullptr ? scratch + kWarpSize : squares_of_blocks + blockIdx.x * squares_stride;
  for (int64_t index = blockIdx.x; index < list.size(); index += gridDim.x) {
    solve_row_by_svd<Element>(task, list.rows[index], workspaces + blockIdx.x * stride, squares, scratch);
    __syncthreads();
  }
}

}  // namespace salt::cuda
