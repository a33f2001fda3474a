// From survivors to the final supports of a block of queries.
#pragma once

#include "exact_support.cuh"
#include "threshold.cuh"

namespace salt::cuda {

constexpr int kRescoreThreads = 128;
constexpr int kAllKeysThreads = 512;

// One block per query: survivors that approximate scores cannot tell apart are scored again. Its support replaces the
// survivors: columns in their place, weights in `weights`, their number in `counts`. Overflowed queries are left alone.
template <class Element>
__global__ void __launch_bounds__(kRescoreThreads)
    rescore_supports(ExactRows queries, ExactRows keys, Survivors survivors, SparsemaxBound bound,
                     SupportOptions options, double* weights, int32_t* counts) {
  unsigned char* scratch = shared_memory();
  const auto scores = reinterpret_cast<double*>(scratch + kScratchBytes);
  const int64_t query = blockIdx.x;
  const int survivors_of_query = survivors.sizes[query];
  if (survivors_of_query == kOverflowed) {
    return;
  }
  int32_t* columns = survivors.columns + query * survivors.capacity;
  if (warp_index() == 0) {
    __half* approximate = survivors.scores + query * survivors.capacity;
    const float tau = bound(Seen{approximate, survivors_of_query, {}, 0}, survivors.cuts[query]);
    const int left = prune(columns, approximate, survivors_of_query, tau - bound.margin);
    if (lane_index() == 0) {
      *reinterpret_cast<int*>(scratch) = left;
    }
  }
  __syncthreads();
  int size = *reinterpret_cast<const int*>(scratch);
  __syncthreads();
  int32_t count = 0;
  if (size > 0) {
    block_cosines<Element>(queries, query, keys, columns, size, scores);
    const Threshold first = sparsemax_threshold(EachWarp{}, scores, size, options.temperature);
    size = filter_scores(
        scores, columns, size, scratch, [&](double score) { return score > first.tau; },
        [&](int32_t place, int64_t column, double score) {
          columns[place] = static_cast<int32_t>(column);
          scores[place] = score;
        });
    // Once more over the support alone: no bit then hangs on which other keys survived, which differs with the way that
    // cuBLAS sums a tile.
    const Threshold threshold = sparsemax_threshold(EachWarp{}, scores, size, options.temperature);
    double* row = weights + query * survivors.capacity;
    count = emit_support<Element>(scores, columns, size, options, threshold, scratch,
                                  [&](int32_t place, int64_t column, double weight) {
                                    columns[place] = static_cast<int32_t>(column);
                                    row[place] = weight;
                                  });
  }
  if (threadIdx.x == 0) {
    counts[query] = count;
  }
}

// The queries that overflowed, among all keys; each block has `workspace` for one row of scores. With crow, supports
// are written to their final place, else only counted.
template <class Element>
__global__ void __launch_bounds__(kAllKeysThreads)
    score_all_keys(ExactRows queries, ExactRows keys, const int32_t* sizes, SupportOptions options, double* workspace,
                   int32_t* counts, const int64_t* crow, int64_t* col, double* weights) {
  unsigned char* scratch = shared_memory();
  const int64_t count = keys.matrix.rows;
  double* scores = workspace + static_cast<int64_t>(blockIdx.x) * count;
  for (int64_t query = blockIdx.x; query < queries.matrix.rows; query += gridDim.x) {
    if (sizes[query] != kOverflowed) {
      continue;
    }
    block_cosines<Element>(queries, query, keys, nullptr, count, scores);
    const Threshold threshold = sparsemax_threshold(WholeBlock{scratch}, scores, count, options.temperature);
    const int64_t begin = crow == nullptr ? 0 : crow[query];
    const int32_t total = emit_support<Element>(scores, nullptr, count, options, threshold, scratch,
                                                [&](int32_t place, int64_t column, double weight) {
                                                  if (crow != nullptr) {
                                                    col[begin + place] = column;
                                                    weights[begin + place] = weight;
                                                  }
                                                });
    if (threadIdx.x == 0) {
      counts[query] = total;
    }
  }
}

}  // namespace salt::cuda
