// One row of lstsq_weights by one block: Gram matrix, elimination, condition test, weights. Rows that fail the test are
// put on a list for kernels/row_svd.cuh.
#pragma once

#include "row_system.cuh"
#include "row_task.cuh"

namespace salt::cuda {

// Condition numbers of the Gram matrix up to which it serves. Its weights carry a relative error of about condition *
// 1e-16: 1e-7 for the narrow types; float64 inputs get theirs back by refinement. As on the CPU.
constexpr double kMaxCondition = 1e9;
constexpr double kMaxConditionFloat64 = 1e7;
constexpr int kRefinements = 2;

// Where the system lives decides how large it may be. One tile: one warp per block and few registers, so that many rows
// are under way at once.
enum class SystemKind { kOneTile, kShared, kGlobal };

// Beside the system, in shared memory: room for reductions, pivot rows, a flag.
constexpr int kReserveDoubles = kWarpSize + 2 * kTile + 2;

// Adds ridge and deflation to the Gram matrix; returns its Frobenius norm. Centred rows always have the null vector
// sqrt(p), to which the right-hand side is orthogonal: filling that direction up leaves the solution as it is and shows
// whether anything else is singular.
template <class Element>
__device__ __forceinline__ double shift(const RowSource<Element>& source, const TiledMatrix& gram, double lambda,
                                        double deflation, double* scratch) {
  double squares = 0;
  for (int row = 0; row < gram.tiles(); ++row) {
    for (int column = 0; column <= row; ++column) {
      double* tile = gram.tile(row, column);
      for (int e = threadIdx.x; e < kTile * kTile; e += blockDim.x) {
        const int i = row * kTile + e / kTile;
        const int j = column * kTile + e % kTile;
        if (i < gram.n && j < gram.n) {
          double value = tile[e / kTile * kTileStride + e % kTile];
          if (deflation > 0) {
            value += deflation * (source.scale(i) * source.scale(j) * source.inverse_k);
          }
          value += i == j ? lambda : 0.0;
          tile[e / kTile * kTileStride + e % kTile] = value;
          squares = fma(row == column ? value : 2 * value, value, squares);
        }
      }
    }
  }
  return sqrt(block_reduce(squares, Sum{}, 0.0, scratch));
}

// solution = G^-1 rhs with residuals that are computed from A, not from its Gram matrix.
template <bool kByAnchors, class Element>
__device__ __forceinline__ void refine(const RowSource<Element>& source, const RowSystem& system, double lambda,
                                       double deflation, double* image, double* scratch) {
  const int n = system.matrix.n;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    system.solution[i] = 0;
    system.step[i] = system.rhs[i];
  }
  __syncthreads();
  for (int round = 0;; ++round) {
    solve(system.matrix, system.inverse_pivots, system.step, system.work, system.step);
    double along = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
      system.solution[i] += system.step[i];
      if (deflation > 0) {
        along = fma(sqrt(source.probability(i)), system.solution[i], along);
      }
    }
    along = block_reduce(along, Sum{}, 0.0, scratch);
    if (round == kRefinements) {
      return;
    }
    if constexpr (kByAnchors) {  // step = A (q - A^T y) - lambda y - deflation u (u . y)
      subtract_combination(source, system.solution, [&](int d) { return source.centred(source.query, d); }, image);
      __syncthreads();
      products_with_anchors(source, image, system.step);
    } else {  // step = q - A^T (A y) - lambda y
      products_with_anchors(source, system.solution, image);
      __syncthreads();
      subtract_combination(source, image, [&](int d) { return source.centred(source.query, d); }, system.step);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
      double value = system.step[i] - lambda * system.solution[i];
      if (deflation > 0) {
        value -= deflation * along * sqrt(source.probability(i));
      }
      system.step[i] = value;
    }
    __syncthreads();
  }
}

// A query that is one of its own, independent anchors is exactly that anchor: no rounding may blur a token's own row.
// Only an anchor whose weight is about one can be it, and where it is, no other weight comes near that.
template <class Element>
__device__ __forceinline__ bool is_own_anchor(const RowSource<Element>& source, const double* solution, double* weights,
                                              double* scratch) {
  int found = -1;
  for (int i = threadIdx.x; i < source.k; i += blockDim.x) {
    if (fabs(solution[i] * source.scale(i) - 1) < 0.01) {
      found = i;
    }
  }
  int* room = reinterpret_cast<int*>(scratch);
  found = block_reduce(found, Max{}, -1, room);
  if (found < 0 || !is_query(source, found, room)) {
    return false;
  }
  for (int i = threadIdx.x; i < source.k; i += blockDim.x) {
    weights[i] = i == found ? 1.0 : 0.0;
  }
  return true;
}

// False where the row needs its singular values. `memory`: the system; `reserve`: kReserveDoubles of shared memory.
template <class Element, SystemKind kind, bool kByAnchors>
__device__ __forceinline__ bool solve_row(const RowTask& task, int64_t row, double* memory, double* reserve) {
  double* scratch = reserve;
  double* pivot_rows = scratch + kWarpSize;
  int* good = reinterpret_cast<int*>(pivot_rows + 2 * kTile);
  double* weights = task.weights + task.csr.begin(row);
  const RowSource<Element> source = source_of<Element>(task, row);
  const int n = source.unknowns();
  const RowSystem system(memory, n);
  const TiledMatrix& matrix = system.matrix;
  constexpr bool kOneTile = kind == SystemKind::kOneTile;
  if constexpr (kByAnchors) {
    build_system_of_anchors<kOneTile>(source, system);
  } else {
    build_system_of_columns(source, system);
  }
  __syncthreads();
  double trace = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    trace += matrix.at(i, i);
  }
  trace = block_reduce(trace, Sum{}, 0.0, scratch);
  if (trace == 0) {
    // Nothing to combine: all weights 0 before the intercept. The solution has no room for k numbers.
    for (int64_t i = threadIdx.x; i < source.k; i += blockDim.x) {
      weights[i] = task.intercept ? source.probability(i) : 0.0;
    }
    return true;
  }
  const double lambda = task.ridge * trace / static_cast<double>(source.k);
  const double deflation = task.intercept && kByAnchors ? trace / static_cast<double>(source.k) : 0.0;
  const double largest = shift(source, matrix, lambda, deflation, scratch);
  if (!factorise<kOneTile>(matrix, system.inverse_pivots, pivot_rows, good)) {
    return false;
  }
  const double condition = largest * inverse_trace(matrix, system.inverse_pivots, scratch);
  const double limit = sizeof(Element) == 8 ? kMaxConditionFloat64 : kMaxCondition;
  const double rcond = cutoff(task, source.k);
  if (!(condition <= limit && condition * rcond * rcond < 1)) {
    return false;
  }
  if constexpr (sizeof(Element) == 8) {
    refine<kByAnchors>(source, system, lambda, deflation, scratch_of_block(task), scratch);
  } else {
    solve(matrix, system.inverse_pivots, system.rhs, system.work, system.solution);
  }
  if constexpr (!kByAnchors) {
    double* products = scratch_of_block(task);
    products_with_anchors(source, system.solution, products);
    __syncthreads();
    finish_weights(source, products, task.intercept, weights, scratch);
  } else if (lambda > 0 || task.intercept || !is_own_anchor(source, system.solution, weights, scratch)) {
    finish_weights(source, system.solution, task.intercept, weights, scratch);
  }
  return true;
}

constexpr int threads_of(SystemKind kind) {
  return kind == SystemKind::kOneTile ? 32 : kind == SystemKind::kShared ? 160 : 256;
}

template <class Element, SystemKind kind, bool kByAnchors>
__global__ void __launch_bounds__(threads_of(kind), 384 / threads_of(kind))
    solve_rows_of_list(RowTask task, RowList list, double* systems, int64_t system_stride, RowList failed) {
  auto* reserve = reinterpret_cast<double*>(shared_memory());
  double* memory = kind == SystemKind::kGlobal ? systems + blockIdx.x * system_stride : reserve + kReserveDoubles;
  for (int64_t index = blockIdx.x; index < list.size(); index += gridDim.x) {
    const int64_t row = list.rows[index];
    if (!solve_row<Element, kind, kByAnchors>(task, row, memory, reserve) && threadIdx.x == 0) {
      failed.append(row);
    }
    __syncthreads();
  }
}

}  // namespace salt::cuda
