// The two passes of a step over the chosen atoms: their inner products with the new atom, and the residual. Both in
// float64, by one block.
#pragma once

#include "pursuit.cuh"

namespace salt::cuda {

constexpr int kStepThreads = 128;
constexpr int kStepWarps = kStepThreads / kWarpSize;
constexpr int kColumnsAtOnce = 1024;  // of the new atom that lie in shared memory

// Shared memory of a block, carved up.
struct StepMemory {
  double* columns;  // [kColumnsAtOnce] of the new atom
  double* vector;   // [limit + 2]
  int64_t* chosen;  // [limit]
  double* scratch;  // [kWarpSize]
  BestAtom* bests;  // [kStepWarps]

  __device__ explicit StepMemory(int limit) {
    columns = reinterpret_cast<double*>(shared_memory());
    vector = columns + kColumnsAtOnce;
    chosen = reinterpret_cast<int64_t*>(vector + limit + 2);
    scratch = reinterpret_cast<double*>(chosen + limit);
    bests = reinterpret_cast<BestAtom*>(scratch + kWarpSize);
  }
  static size_t bytes(int64_t limit) {
    return static_cast<size_t>(kColumnsAtOnce + 2 * limit + 2 + kWarpSize) * 8 + kStepWarps * sizeof(BestAtom);
  }
};

// Where column d of the new atom lies, the first of a lane's group; the others follow kWarpSize apart, so that a warp
// which reads element i of every group reads neighbours.
template <class Element>
__device__ __forceinline__ int place_of(int d) {
  constexpr int kWidth = kPerLoad<Element>;
  constexpr int kStride = kWidth * kWarpSize;
  return d / kStride * kStride + d / kWidth % kWarpSize;
}

// Row `index` of those that the new atom is multiplied with: the chosen atoms, itself, the query.
template <class Element>
__device__ __forceinline__ const Element* factor_of(const Pursuits& p, int64_t query, int64_t atom, int n, int index,
                                                    const StepMemory& memory) {
  return index < n    ? p.atom<Element>(memory.chosen[index])
         : index == n ? p.atom<Element>(atom)
                      : static_cast<const Element*>(p.queries.row(query));
}

// The warp's products of the new atom's columns [begin, begin + kColumnsAtOnce), which lie in shared memory, with kRows
// rows from `first` on, kStepWarps apart, added up in memory.vector. Several rows at once: more loads on their way, and
// fewer reads of the new atom.
template <class Element, bool kAligned, int kRows>
__device__ __forceinline__ void add_row_products(const Pursuits& p, int64_t query, int64_t atom, int n, int first,
                                                 int64_t begin, const StepMemory& memory) {
  constexpr int kWidth = kPerLoad<Element>;
  const int size = static_cast<int>(min(static_cast<int64_t>(kColumnsAtOnce), p.atoms.cols - begin));
  const Element* rows[kRows];
  double sums[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    rows[r] = factor_of<Element>(p, query, atom, n, first + r * kStepWarps, memory) + begin;
    sums[r] = 0;
  }
  const auto add = [&](int d, const Loaded<Element>(&loaded)[kRows]) {
    const double* column = memory.columns + place_of<Element>(d);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const double own = column[i * kWarpSize];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        sums[r] = fma(own, to_double(loaded[r].values[i]), sums[r]);
      }
    }
  };
  int d = lane_index() * kWidth;
  // Rounds that all lanes share, so that the loads of several are under way at once.
#pragma unroll(kRows == 1 ? 3 : 2)
  for (int round = size / (kWarpSize * kWidth); round > 0; --round) {
    Loaded<Element> loaded[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      loaded[r] = load_group<Element, kAligned>(rows[r] + d);
    }
    add(d, loaded);
    d += kWarpSize * kWidth;
  }
  if (d < size) {
    Loaded<Element> loaded[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      loaded[r] = load_last<Element, kAligned>(rows[r] + d, size - d);
    }
    add(d, loaded);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const double sum = warp_reduce(sums[r], Sum{});
    if (lane_index() == 0) {
      double& total = memory.vector[first + r * kStepWarps];
      total = begin == 0 ? sum : total + sum;
    }
  }
}

// vector[i] = <atom, chosen i>, then <atom, atom> and <atom, query>. A warp owns its rows, so sums have one order.
template <class Element, bool kAligned>
__device__ __forceinline__ void inner_products(const Pursuits& p, int64_t query, int64_t atom, int n,
                                               const StepMemory& memory) {
  constexpr int kWidth = kPerLoad<Element>;
  constexpr int kRows = 4;
  const Element* own = p.atom<Element>(atom);
  const int64_t cols = p.atoms.cols;
  for (int64_t begin = 0; begin < cols; begin += kColumnsAtOnce) {
    __syncthreads();
    for (int d = static_cast<int>(threadIdx.x) * kWidth; d < kColumnsAtOnce; d += kStepThreads * kWidth) {
      const Loaded<Element> loaded = load_last<Element, kAligned>(own + begin + d, cols - begin - d);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        memory.columns[place_of<Element>(d) + i * kWarpSize] = to_double(loaded.values[i]);
      }
    }
    __syncthreads();
    int row = warp_index();
    for (; row + (kRows - 1) * kStepWarps < n + 2; row += kRows * kStepWarps) {
      add_row_products<Element, kAligned, kRows>(p, query, atom, n, row, begin, memory);
    }
    for (; row < n + 2; row += kStepWarps) {
      add_row_products<Element, kAligned, 1>(p, query, atom, n, row, begin, memory);
    }
  }
  __syncthreads();
}

// Columns [d, d + kPerLoad) of the residual, and the sum of their squares.
template <class Element, class Load>
__device__ __forceinline__ double residual_group(const Pursuits& p, int64_t query, int n, int64_t d,
                                                 const StepMemory& memory, const Load& load) {
  constexpr int kWidth = kPerLoad<Element>;
  double values[kWidth];
  const Loaded<Element> given = load(static_cast<const Element*>(p.queries.row(query)) + d);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    values[j] = to_double(given.values[j]);
  }
  // Unrolled, so that several rows are on their way before the first is used.
#pragma unroll 6
  for (int i = 0; i < n; ++i) {
    const Loaded<Element> of_atom = load(p.atom<Element>(memory.chosen[i]) + d);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      values[j] = fma(-memory.vector[i], to_double(of_atom.values[j]), values[j]);
    }
  }
  double squared = 0;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    p.residual(query)[d + j] = values[j];  // zeros beyond the last column, as all rows end in
    squared = fma(values[j], values[j], squared);
  }
  return squared;
}

// The residual of the query under weights memory.vector; returns its norm.
template <class Element, bool kAligned>
__device__ __forceinline__ double new_residual(const Pursuits& p, int64_t query, int n, const StepMemory& memory) {
  constexpr int kWidth = kPerLoad<Element>;
  const int64_t cols = p.atoms.cols;
  double squared = 0;
  int64_t d = static_cast<int64_t>(threadIdx.x) * kWidth;
  for (; d + kWidth <= cols; d += kStepThreads * kWidth) {
    squared += residual_group<Element>(p, query, n, d, memory,
                                       [](const Element* source) { return load_group<Element, kAligned>(source); });
  }
  if (d < cols) {
    squared += residual_group<Element>(
        p, query, n, d, memory, [&](const Element* source) { return load_last<Element, kAligned>(source, cols - d); });
  }
  return sqrt(block_reduce(squared, Sum{}, 0.0, memory.scratch));
}

}  // namespace salt::cuda
