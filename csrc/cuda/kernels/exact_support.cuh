// The sparsemax support of one query among exact scores, by one block: threshold, weights, and the chosen in order.
#pragma once

#include "exact.cuh"

namespace salt::cuda {

// Shared memory of one block, for sums and scans.
constexpr size_t kScratchBytes = kWarpSize * sizeof(double);

struct SupportOptions {
  double temperature;
  bool as_stored;  // leave out weights that round to zero in the element type
};

struct Threshold {
  double tau;
  double sum;  // of what the scores above tau exceed it by: the temperature but for rounding
};

// Who computes a threshold: the whole block, or each warp for itself, which needs no barrier where scores are few.
struct WholeBlock {
  unsigned char* scratch;

  __device__ __forceinline__ int index() const { return static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ int size() const { return static_cast<int>(blockDim.x); }
  template <class T, class Operation>
  __device__ __forceinline__ T reduce(T value, Operation operation, T neutral) const {
    return block_reduce(value, operation, neutral, reinterpret_cast<T*>(scratch));
  }
};

struct EachWarp {
  __device__ __forceinline__ int index() const { return lane_index(); }
  __device__ __forceinline__ int size() const { return kWarpSize; }
  template <class T, class Operation>
  __device__ __forceinline__ T reduce(T value, Operation operation, T) const {
    return warp_reduce(value, operation);
  }
};

// As sparsemax_threshold of csrc/cpu/sparsemax_row.h: Michelot's iteration. Some score is finite.
template <class Team>
__device__ __forceinline__ Threshold sparsemax_threshold(const Team& team, const double* scores, int64_t count,
                                                         double temperature) {
  constexpr double kLowest = -static_cast<double>(INFINITY);
  double highest = kLowest;
  for (int64_t i = team.index(); i < count; i += team.size()) {
    highest = fmax(highest, scores[i]);
  }
  highest = team.reduce(highest, Max{}, kLowest);
  // Where the temperature is below the scores' own rounding, the highest scores share the weight.
  const double ceiling = nextafter(highest, kLowest);
  double tau = kLowest;
  for (int64_t above = count + 1;;) {
    double sum = 0;
    int64_t chosen = 0;
    for (int64_t i = team.index(); i < count; i += team.size()) {
      if (scores[i] > tau) {
        sum += scores[i];
        ++chosen;
      }
    }
    chosen = team.reduce(chosen, Sum{}, int64_t{0});
    if (chosen >= above) {
      break;
    }
    above = chosen;
    tau = fmin(ceiling, (team.reduce(sum, Sum{}, 0.0) - temperature) / static_cast<double>(chosen));
  }
  double sum = 0;
  for (int64_t i = team.index(); i < count; i += team.size()) {
    sum += scores[i] > tau ? scores[i] - tau : 0.0;
  }
  return {tau, team.reduce(sum, Sum{}, 0.0)};
}

// Calls emit(place, column, score) with places 0, 1, ... for the scores that `choose` takes, in ascending order;
// returns how many. Score i belongs to columns[i], or to column i where columns is null; emit may overwrite
// scores[place] and columns[place]. By all threads of the block, at the end in step.
template <class Choose, class Emit>
__device__ __forceinline__ int32_t filter_scores(const double* scores, const int32_t* columns, int64_t count,
                                                 unsigned char* scratch, Choose choose, Emit emit) {
  int32_t placed = 0;
  for (int64_t begin = 0; begin < count; begin += blockDim.x) {
    const int64_t i = begin + threadIdx.x;
    // Read before the scan's barrier, behind which others may overwrite it.
    const double score = i < count ? scores[i] : 0;
    const int64_t column = columns == nullptr || i >= count ? i : columns[i];
    const bool chosen = i < count && choose(score);
    int total = 0;
    const int before = block_exclusive_scan(static_cast<int>(chosen), reinterpret_cast<int*>(scratch), total);
    if (chosen) {
      emit(placed + before, column, score);
    }
    placed += total;
  }
  __syncthreads();
  return placed;
}

// filter_scores with emit(place, column, weight).
template <class Element, class Emit>
__device__ __forceinline__ int32_t emit_support(const double* scores, const int32_t* columns, int64_t count,
                                                const SupportOptions& options, const Threshold& threshold,
                                                unsigned char* scratch, Emit emit) {
  const auto weight_of = [&](double score) { return (score - threshold.tau) / threshold.sum; };
  return filter_scores(
      scores, columns, count, scratch,
      [&](double score) {
        return score > threshold.tau && (!options.as_stored || to_double(round_to<Element>(weight_of(score))) > 0);
      },
      [&](int32_t place, int64_t column, double score) { emit(place, column, weight_of(score)); });
}

}  // namespace salt::cuda
