#include "kernels/exact_rows.cuh"
#include "search.h"

namespace salt::cuda {
namespace {

constexpr int kTotalsThreads = 1024;

// What the host must know of a block of queries.
struct Totals {
  int64_t nnz;
  int64_t longest;
  int64_t overflowed;
};

// crow and the totals, by one block.
__global__ void __launch_bounds__(kTotalsThreads)
    sum_counts(const int32_t* counts, const int32_t* sizes, int64_t rows, int64_t* crow, Totals* totals) {
  const auto sums = reinterpret_cast<int64_t*>(shared_memory());
  int64_t before = 0;
  int64_t longest = 0;
  int64_t overflowed = 0;
  for (int64_t begin = 0; begin < rows; begin += blockDim.x) {
    const int64_t row = begin + threadIdx.x;
    const int64_t mine = row < rows ? counts[row] : 0;
    longest = max(longest, mine);
    overflowed += static_cast<int64_t>(row < rows && sizes[row] == kOverflowed);
    // Doubling steps: 64 bits wide, unlike block_exclusive_scan.
    int64_t sum = mine;
    for (int offset = 1; offset < static_cast<int>(blockDim.x); offset *= 2) {
      sums[threadIdx.x] = sum;
      __syncthreads();
      sum += static_cast<int>(threadIdx.x) >= offset ? sums[threadIdx.x - offset] : 0;
      __syncthreads();
    }
    if (row < rows) {
      crow[row] = before + sum - mine;
    }
    before += block_reduce(mine, Sum{}, int64_t{0}, sums);
  }
  longest = block_reduce(longest, Max{}, int64_t{0}, sums);
  overflowed = block_reduce(overflowed, Sum{}, int64_t{0}, sums);
  if (threadIdx.x == 0) {
    crow[rows] = before;
    *totals = {before, longest, overflowed};
  }
}

// One warp per query: its support moves to its final place. Overflowed queries are not here.
__global__ void __launch_bounds__(kRescoreThreads)
    compress_supports(Survivors survivors, const double* weights, int64_t rows, const int64_t* crow, int64_t* col,
                      double* out) {
  const int64_t row = warp_of_grid();
  if (row >= rows || survivors.sizes[row] == kOverflowed) {
    return;
  }
  const int64_t begin = crow[row];
  const int64_t source = row * survivors.capacity;
  for (int64_t i = lane_index(); i < crow[row + 1] - begin; i += kWarpSize) {
    col[begin + i] = survivors.columns[source + i];
    out[begin + i] = weights[source + i];
  }
}

}  // namespace

SupportSearch::SupportSearch(const Context& context, const MatrixView& queries, const MatrixView& keys,
                             double temperature, const SearchNames& names, bool as_stored)
    : options_{temperature, as_stored},
      bound_{temperature, preselection_margin(keys.cols)},
      preselection_(context, queries, keys, names, kCapacity),
      weights_(context.allocate<double>(block_rows() * kCapacity)),
      counts_(context.allocate<int32_t>(block_rows())),
      all_keys_blocks_(keys.rows <= kCapacity
                           ? 0
                           : exact_blocks(context, block_rows(), keys.rows * static_cast<int64_t>(sizeof(double)))),
      all_keys_(context.allocate<double>(all_keys_blocks_ * keys.rows)) {}

BlockSupport SupportSearch::run(int64_t begin, int64_t count) {
  const Context& context = preselection_.context();
  BlockSupport support;
  support.rows = count;
  if (count == 0 || preselection_.keys().matrix.rows == 0) {
    support.crow = context.allocate_zeros<int64_t>(count + 1);
    support.col = context.allocate<int64_t>(0);
    support.weights = context.allocate<double>(0);
    return support;
  }
  const Survivors survivors = preselection_.run(begin, count, bound_);
  const ExactRows queries = preselection_.queries(begin, count);
  const ExactRows keys = preselection_.keys();
  const auto score_all = [&](const int64_t* crow) {
    with_element(keys.matrix.dtype, [&]<class Element>() {
      launch(context, score_all_keys<Element>, {all_keys_blocks_, kAllKeysThreads, kScratchBytes}, queries, keys,
             survivors.sizes, options_, all_keys_.data(), counts_.data(), crow, support.col.data(),
             support.weights.data());
    });
  };
  with_element(keys.matrix.dtype, [&]<class Element>() {
    launch(context, rescore_supports<Element>,
           {count, kRescoreThreads, kScratchBytes + static_cast<size_t>(kCapacity) * sizeof(double)}, queries, keys,
           survivors, bound_, options_, weights_.data(), counts_.data());
  });
  score_all(nullptr);
  support.crow = context.allocate<int64_t>(count + 1);
  const Buffer<Totals> totals = context.allocate<Totals>(1);
  launch(context, sum_counts, {1, kTotalsThreads, kTotalsThreads * sizeof(int64_t)}, counts_.data(), survivors.sizes,
         count, support.crow.data(), totals.data());
  const Totals found = context.read(totals.data());
  support.nnz = found.nnz;
  support.longest = found.longest;
  support.col = context.allocate<int64_t>(found.nnz);
  support.weights = context.allocate<double>(found.nnz);
  launch(context, compress_supports, {blocks_for(count, kRescoreThreads / kWarpSize), kRescoreThreads}, survivors,
         weights_.data(), count, support.crow.data(), support.col.data(), support.weights.data());
  if (found.overflowed > 0) {
    // A second time: how much room the supports need was not known before.
    score_all(support.crow.data());
  }
  return support;
}

}  // namespace salt::cuda
