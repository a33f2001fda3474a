// One step of the pursuits: the best of the candidates in float64, a row of the Cholesky factor, weights and residual.
// One block per query. It reads the chosen atoms twice (inner products; residual), which is nearly all of its traffic:
// 2 n rows at n chosen. Rows that 132 multiprocessors ask for at once repeat much, so part of that comes from L2.
#pragma once

#include "pursuit.cuh"
#include "pursuit_solve.cuh"

namespace salt::cuda {

constexpr int kStepThreads = 128;
constexpr int kStepWarps = kStepThreads / kWarpSize;
constexpr int kRowsAtOnce = 4;         // rows whose products with the new atom a warp forms at once
constexpr int kColumnsAtOnce = 1024;   // of the new atom that lie in shared memory
constexpr double kExactFit = 1e-12;    // relative residual below which the fit is exact but for rounding
constexpr double kIndependent = 1e-6;  // relative distance from the span of the chosen

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

// The best of all candidates, the same in every thread.
template <class Element>
__device__ __forceinline__ BestAtom best_candidate(const Pursuits& p, int64_t query, const PursuitState& state,
                                                   BestAtom* bests) {
  BestAtom best = state.best;
  for (int i = warp_index(); i < state.candidates; i += kStepWarps) {
    const Candidate candidate = p.candidates[query * kCandidates + i];
    if (candidate.upper >= state.lower) {
      best.offer(warp_correlation<Element>(p, query, candidate.atom), candidate.atom);
    }
  }
  if (lane_index() == 0) {
    bests[warp_index()] = best;
  }
  __syncthreads();
  for (int warp = 0; warp < kStepWarps; ++warp) {
    if (bests[warp].atom >= 0) {
      best.offer(bests[warp].correlation, bests[warp].atom);
    }
  }
  return best;
}

// Where column d of the new atom lies, the first of a lane's group; the others follow kWarpSize apart, so that a warp
// which reads element i of every group reads neighbours.
template <class Element>
__device__ __forceinline__ int place_of(int d) {
  constexpr int kWidth = kPerLoad<Element>;
  constexpr int kStride = kWidth * kWarpSize;
  return d / kStride * kStride + d / kWidth % kWarpSize;
}

// vector[i] = <atom, chosen i>, then <atom, atom> and <atom, query>. A warp owns its rows, so sums have one order.
template <class Element>
__device__ __forceinline__ void inner_products(const Pursuits& p, int64_t query, int64_t atom, int n,
                                               const StepMemory& memory) {
  constexpr int kWidth = kPerLoad<Element>;
  const Element* own = p.atom<Element>(atom);
  const int64_t cols = p.atoms.cols;
  for (int64_t begin = 0; begin < cols; begin += kColumnsAtOnce) {
    __syncthreads();
    const int size = static_cast<int>(min(static_cast<int64_t>(kColumnsAtOnce), cols - begin));
    for (int d = static_cast<int>(threadIdx.x) * kWidth; d < kColumnsAtOnce; d += kStepThreads * kWidth) {
      double values[kWidth];
      load_group(own, begin + d, cols, p.aligned, values);
      const int place = place_of<Element>(d);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        memory.columns[place + i * kWarpSize] = values[i];
      }
    }
    __syncthreads();
    for (int row = warp_index(); row < n + 2; row += kStepWarps * kRowsAtOnce) {
      const Element* rows[kRowsAtOnce];
      double sums[kRowsAtOnce];
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r) {
        const int index = row + r * kStepWarps;
        rows[r] = index < n    ? p.atom<Element>(memory.chosen[index])
                  : index == n ? own
                               : static_cast<const Element*>(p.queries.row(query));
        sums[r] = 0;
      }
      for (int d = lane_index() * kWidth; d < size; d += kWarpSize * kWidth) {
        const int place = place_of<Element>(d);
#pragma unroll
        for (int r = 0; r < kRowsAtOnce; ++r) {
          if (row + r * kStepWarps < n + 2) {
            double values[kWidth];
            load_group(rows[r], begin + d, cols, p.aligned, values);
#pragma unroll
            for (int i = 0; i < kWidth; ++i) {
              sums[r] = fma(memory.columns[place + i * kWarpSize], values[i], sums[r]);
            }
          }
        }
      }
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r) {
        const int index = row + r * kStepWarps;
        const double sum = warp_reduce(sums[r], Sum{});
        if (index < n + 2 && lane_index() == 0) {
          memory.vector[index] = begin == 0 ? sum : memory.vector[index] + sum;
        }
      }
    }
  }
  __syncthreads();
}

// The residual of the query under weights memory.vector; returns its norm.
template <class Element>
__device__ __forceinline__ double new_residual(const Pursuits& p, int64_t query, int n, const StepMemory& memory) {
  constexpr int kWidth = kPerLoad<Element>;
  const int64_t cols = p.atoms.cols;
  const Element* given = static_cast<const Element*>(p.queries.row(query));
  double* residual = p.residual(query);
  double squared = 0;
  for (int64_t d = static_cast<int64_t>(threadIdx.x) * kWidth; d < cols; d += kStepThreads * kWidth) {
    double values[kWidth];
    load_group(given, d, cols, p.aligned, values);
    // Unrolled, so that several rows are on their way before the first is used.
#pragma unroll 4
    for (int i = 0; i < n; ++i) {
      double of_atom[kWidth];
      load_group(p.atom<Element>(memory.chosen[i]), d, cols, p.aligned, of_atom);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        values[j] = fma(-memory.vector[i], of_atom[j], values[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      residual[d + j] = values[j];  // zeros beyond the last column, as all rows end in
      squared = fma(values[j], values[j], squared);
    }
  }
  return sqrt(block_reduce(squared, Sum{}, 0.0, memory.scratch));
}

// Adds the atom's row to the factor, from its products in memory.vector; false where it depends on the chosen atoms.
// Leaves the forward solution in memory.vector.
__device__ __forceinline__ bool extend_factor(const Pursuits& p, int64_t query, int n, const StepMemory& memory) {
  const double squared = memory.vector[n];
  const double projection = memory.vector[n + 1];
  double* factor = p.factor(query);
  double* forward = p.forwards + query * p.limit;
  substitute_forward(factor, memory.vector, n);
  // Each warp forms both sums alike: no barrier, and the same decision everywhere.
  double inside = 0;
  double explained = 0;
  for (int i = lane_index(); i < n; i += kWarpSize) {
    inside = fma(memory.vector[i], memory.vector[i], inside);
    explained = fma(memory.vector[i], forward[i], explained);
  }
  const double pivot = squared - warp_reduce(inside, Sum{});
  explained = warp_reduce(explained, Sum{});
  if (!(pivot > kIndependent * kIndependent * squared)) {
    return false;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kStepThreads) {
    factor[packed_row(n) + i] = memory.vector[i];
    memory.vector[i] = forward[i];
  }
  if (threadIdx.x == 0) {
    const double diagonal = sqrt(pivot);
    factor[packed_row(n) + n] = diagonal;
    forward[n] = (projection - explained) / diagonal;
    memory.vector[n] = forward[n];
  }
  return true;
}

// Takes the atom, unless nothing is left to gain or it depends on the chosen; the latter is only noted, and the next
// pass looks for the next best.
template <class Element>
__device__ __forceinline__ void take(const Pursuits& p, int64_t slot, int64_t query, const BestAtom& best,
                                     const StepMemory& memory, PursuitState& state) {
  const int n = state.chosen;
  inner_products<Element>(p, query, best.atom, n, memory);
  if (best.correlation <= p.noise * sqrt(memory.vector[n]) * state.norm) {
    state.done = true;
    return;
  }
  if (threadIdx.x == 0) {
    p.taken[query * p.words + best.atom / 32] |= 1u << (best.atom % 32);
  }
  if (!extend_factor(p, query, n, memory)) {
    return;
  }
  if (threadIdx.x == 0) {
    memory.chosen[n] = best.atom;
    p.indices[query * p.k + n] = best.atom;
  }
  substitute_backward(p.factor(query), memory.vector, n + 1);
  for (int i = static_cast<int>(threadIdx.x); i <= n; i += kStepThreads) {
    static_cast<Element*>(p.weights)[query * p.k + i] = round_to<Element>(memory.vector[i]);
  }
  state.chosen = n + 1;
  state.norm = new_residual<Element>(p, query, n + 1, memory);
  state.done = state.chosen == p.limit || state.norm <= state.stop;
  if (!state.done) {
    write_unit(p, slot, query, state.norm);
  }
}

// One block per slot: what follows a pass over all atoms.
template <class Element>
__global__ void __launch_bounds__(kStepThreads, 6) advance_pursuits(Pursuits p) {
  const int64_t query = p.open[blockIdx.x];
  PursuitState state = p.states[query];
  if (state.done) {
    return;
  }
  const StepMemory memory(p.limit);
  for (int i = static_cast<int>(threadIdx.x); i < state.chosen; i += kStepThreads) {
    memory.chosen[i] = p.indices[query * p.k + i];
  }
  const BestAtom best = best_candidate<Element>(p, query, state, memory.bests);
  state.candidates = 0;
  state.lower = 0;
  state.best = {};
  if (best.atom < 0) {
    state.done = true;
  } else {
    take<Element>(p, blockIdx.x, query, best, memory, state);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    p.states[query] = state;
  }
}

}  // namespace salt::cuda
