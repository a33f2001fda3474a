// One step of the pursuits: the best of the candidates in float64, a row of the Cholesky factor, weights and residual.
// One block per query. It reads the chosen atoms twice (inner products; residual), which is nearly all of its traffic:
// 2 n rows at n chosen. Rows that 132 multiprocessors ask for at once repeat much, so part of that comes from L2.
#pragma once

#include "pursuit_products.cuh"
#include "pursuit_solve.cuh"

namespace salt::cuda {

constexpr double kExactFit = 1e-12;    // relative residual below which the fit is exact but for rounding
constexpr double kIndependent = 1e-6;  // relative distance from the span of the chosen

// The best of all candidates, the same in every thread.
template <class Element, bool kAligned>
__device__ __forceinline__ BestAtom best_candidate(const Pursuits& p, int64_t query, const PursuitState& state,
                                                   BestAtom* bests) {
  BestAtom best = state.best;
  for (int i = warp_index(); i < state.candidates; i += kStepWarps) {
    const Candidate candidate = p.candidates[query * kCandidates + i];
    if (candidate.upper >= state.lower) {
      best.offer(warp_correlation<Element, kAligned>(p, query, candidate.atom), candidate.atom);
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
    const double solved = memory.vector[i];
    memory.vector[i] = forward[i];
    factor[packed_row(n) + i] = solved;
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
template <class Element, bool kAligned>
__device__ __forceinline__ void take(const Pursuits& p, int64_t slot, int64_t query, const BestAtom& best,
                                     const StepMemory& memory, PursuitState& state) {
  const int n = state.chosen;
  inner_products<Element, kAligned>(p, query, best.atom, n, memory);
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
  state.norm = new_residual<Element, kAligned>(p, query, n + 1, memory);
  state.done = state.chosen == p.limit || state.norm <= state.stop;
  if (!state.done) {
    write_unit(p, slot, query, state.norm);
  }
}

// One block per slot: what follows a pass over all atoms. Five blocks to a multiprocessor: as many as leave registers
// for the loads that each has under way.
template <class Element, bool kAligned>
__global__ void __launch_bounds__(kStepThreads, 5) advance_pursuits(Pursuits p) {
  const int64_t query = p.open[blockIdx.x];
  PursuitState state = p.states[query];
  if (state.done) {
    return;
  }
  const StepMemory memory(p.limit);
  for (int i = static_cast<int>(threadIdx.x); i < state.chosen; i += kStepThreads) {
    memory.chosen[i] = p.indices[query * p.k + i];
  }
  const BestAtom best = best_candidate<Element, kAligned>(p, query, state, memory.bests);
  state.candidates = 0;
  state.lower = 0;
  state.best = {};
  if (best.atom < 0) {
    state.done = true;
  } else {
    take<Element, kAligned>(p, blockIdx.x, query, best, memory, state);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    p.states[query] = state;
  }
}

}  // namespace salt::cuda
