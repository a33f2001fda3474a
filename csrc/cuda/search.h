// The sparsemax supports of blocks of queries: what cosine_sparsemax and transfer share.
#pragma once

#include "kernels/exact_support.cuh"
#include "kernels/threshold.cuh"
#include "search_preselect.h"

namespace salt::cuda {

// Canonical CSR on the device: columns are rows of the keys and ascend; weights are above 0 and sum to 1 per row.
struct BlockSupport {
  Buffer<int64_t> crow;
  Buffer<int64_t> col;
  Buffer<double> weights;
  int64_t rows = 0;
  int64_t nnz = 0;
  int64_t longest = 0;  // entries of the longest row
};

class SupportSearch {
 public:
  // Refuses rows that are not finite. `as_stored` leaves out weights that round to zero in the queries' dtype.
  SupportSearch(const Context& context, const MatrixView& queries, const MatrixView& keys, double temperature,
                const SearchNames& names = {}, bool as_stored = false);

  // How many queries run takes at most.
  int64_t block_rows() const { return preselection_.block_rows(); }

  // The supports of queries begin .. begin + count - 1. Waits for the stream once.
  BlockSupport run(int64_t begin, int64_t count);

 private:
  // Survivors that are kept per query: a query with more compares itself with all keys in float64.
  static constexpr int kCapacity = 1024;

  const SupportOptions options_;
  const SparsemaxBound bound_;
  Preselection preselection_;
  const Buffer<double> weights_;   // [block_rows, kCapacity]
  const Buffer<int32_t> counts_;   // [block_rows]
  const int64_t all_keys_blocks_;  // 0: no query can overflow
  const Buffer<double> all_keys_;  // [all_keys_blocks, keys]
};

}  // namespace salt::cuda
