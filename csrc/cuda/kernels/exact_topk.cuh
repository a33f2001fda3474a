// The k best keys of a query by exact scores, by one block: scored in float64, sorted, written.
#pragma once

#include <limits>

#include "exact.cuh"
#include "threshold.cuh"

namespace salt::cuda {

constexpr int kRankThreads = 128;
constexpr int kRankAllThreads = 512;

// Scores and columns to be sorted, in shared or in global memory; room for `size` of each, a power of two.
struct Ranking {
  double* scores;
  int32_t* columns;
  int64_t size;
};

// What is sorted beside `size` scores, one score and one column each.
constexpr int64_t kRankingBytes = sizeof(double) + sizeof(int32_t);

__host__ __device__ inline int64_t power_of_two(int64_t at_least) {
  int64_t power = 1;
  while (power < at_least) {
    power *= 2;
  }
  return power;
}

// Bitonic sort: highest score first, ties by ascending column. By all threads of the block, at the end in step.
__device__ __forceinline__ void sort_ranking(const Ranking& ranking) {
  for (int64_t run = 2; run <= ranking.size; run *= 2) {
    for (int64_t apart = run / 2; apart > 0; apart /= 2) {
      for (int64_t i = threadIdx.x; i < ranking.size / 2; i += blockDim.x) {
        const int64_t left = (i & -apart) * 2 + (i & (apart - 1));
        const int64_t right = left + apart;
        const double a = ranking.scores[left];
        const double b = ranking.scores[right];
        const int32_t a_column = ranking.columns[left];
        const int32_t b_column = ranking.columns[right];
        const bool in_order = a != b ? a > b : a_column < b_column;
        const bool wanted = (left & run) == 0;
        if (in_order != wanted) {
          ranking.scores[left] = b;
          ranking.scores[right] = a;
          ranking.columns[left] = b_column;
          ranking.columns[right] = a_column;
        }
      }
      __syncthreads();
    }
  }
}

// Scores and sorts `count` keys, columns[i] or all of them where columns is null, and writes the first k. A query or a
// key without direction leaves its slot unused.
template <class Element>
__device__ __forceinline__ void rank_keys(const ExactRows& queries, int64_t query, const ExactRows& keys,
                                          const int32_t* columns, int64_t count, const Ranking& room, int64_t k,
                                          Element* values, int64_t* indices) {
  const int64_t found = queries.norms[query] > 0 ? count : 0;
  const Ranking ranking{room.scores, room.columns, power_of_two(found)};
  for (int64_t i = threadIdx.x; i < ranking.size; i += blockDim.x) {
    const int64_t column = columns == nullptr || i >= found ? i : columns[i];
    ranking.columns[i] = i < found ? static_cast<int32_t>(column) : std::numeric_limits<int32_t>::max();
    if (i >= found) {
      ranking.scores[i] = -INFINITY;
    }
  }
  block_cosines<Element>(queries, query, keys, columns, found, ranking.scores);
  sort_ranking(ranking);
  for (int64_t slot = threadIdx.x; slot < k; slot += blockDim.x) {
    const double score = slot < found ? ranking.scores[slot] : -INFINITY;
    values[query * k + slot] = round_to<Element>(score);
    indices[query * k + slot] = score == -INFINITY ? -1 : ranking.columns[slot];
  }
  __syncthreads();
}

// One block per query: its survivors. Overflowed queries are left alone.
template <class Element>
__global__ void __launch_bounds__(kRankThreads) rank_survivors(ExactRows queries, ExactRows keys, Survivors survivors,
                                                               TopkBound bound, Element* values, int64_t* indices) {
  unsigned char* memory = shared_memory();
  const auto scores = reinterpret_cast<double*>(memory);
  const int64_t query = blockIdx.x;
  int size = survivors.sizes[query];
  if (size == kOverflowed) {
    return;
  }
  int32_t* columns = survivors.columns + query * survivors.capacity;
  if (warp_index() == 0) {
    __half* approximate = survivors.scores + query * survivors.capacity;
    const float least = bound(Seen{approximate, size, {}, 0}, survivors.cuts[query]);
    const int left = prune(columns, approximate, size, least - bound.margin);
    if (lane_index() == 0) {
      *reinterpret_cast<int*>(memory) = left;
    }
  }
  __syncthreads();
  size = *reinterpret_cast<const int*>(memory);
  __syncthreads();
  const Ranking room{scores, reinterpret_cast<int32_t*>(scores + survivors.capacity), survivors.capacity};
  rank_keys(queries, query, keys, columns, size, room, bound.k, values, indices);
}

// The queries that overflowed, or all where sizes is null, among all keys; each block has one ranking of `room` keys in
// `workspace`.
template <class Element>
__global__ void __launch_bounds__(kRankAllThreads)
    rank_all_keys(ExactRows queries, ExactRows keys, const int32_t* sizes, unsigned char* workspace, int64_t room,
                  int64_t k, Element* values, int64_t* indices) {
  const auto scores = reinterpret_cast<double*>(workspace + static_cast<int64_t>(blockIdx.x) * room * kRankingBytes);
  const Ranking ranking{scores, reinterpret_cast<int32_t*>(scores + room), room};
  for (int64_t query = blockIdx.x; query < queries.matrix.rows; query += gridDim.x) {
    if (sizes == nullptr || sizes[query] == kOverflowed) {
      rank_keys<Element>(queries, query, keys, nullptr, keys.matrix.rows, ranking, k, values, indices);
    }
  }
}

}  // namespace salt::cuda
