#include "../ops/cosine_sparsemax.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "directions.h"
#include "parallel.h"
#include "sparsemax_row.h"
#include "tiles.h"

namespace salt {
namespace {

// What one block of queries found, row after row; the weights in the values' dtype.
struct BlockSupport {
  std::vector<int64_t> sizes;
  std::vector<int64_t> columns;
  std::vector<std::byte> weights;
};

// Appends supports to a block, less the weights that are zero once rounded. One per thread, memory reused.
class SupportWriter {
 public:
  SupportWriter(const Kernels& kernels, DType dtype) : kernels_(kernels), dtype_(dtype) {}

  void append(const std::vector<int64_t>& columns, const std::vector<double>& weights, BlockSupport& out) {
    const int64_t n = static_cast<int64_t>(weights.size());
    const int64_t width = element_size(dtype_);
    narrow_.resize(static_cast<size_t>(n * width));
    rounded_.resize(weights.size());
    kernels_.narrow_f64(dtype_, weights.data(), n, narrow_.data());
    kernels_.widen_f64(dtype_, narrow_.data(), n, rounded_.data());
    int64_t size = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (rounded_[static_cast<size_t>(i)] > 0) {
        out.columns.push_back(columns[static_cast<size_t>(i)]);
        out.weights.insert(out.weights.end(), narrow_.begin() + i * width, narrow_.begin() + (i + 1) * width);
        ++size;
      }
    }
    out.sizes.push_back(size);
  }

 private:
  const Kernels& kernels_;
  const DType dtype_;
  std::vector<std::byte> narrow_;
  std::vector<double> rounded_;
};

template <class T>
std::vector<BlockSupport> find_supports(const Directions& queries, const Directions& keys, double temperature) {
  const Kernels& kernel = kernels();
  const int threads = threads_for(product_size(queries, keys));
  const int64_t block_size = query_block(queries.size(), threads);
  const int64_t blocks = (queries.size() + block_size - 1) / block_size;
  std::vector<BlockSupport> supports(static_cast<size_t>(blocks));
  const std::optional<CoarseKeys> coarse = CoarseKeys::of(kernel, keys, queries.size(), threads);
  share_tasks(threads, blocks, 1, [&](Tasks& tasks) {
    SparsemaxBlock<T> search(kernel, queries, keys, coarse ? &*coarse : nullptr, temperature);
    std::vector<int64_t> support;
    std::vector<double> weights;
    SupportWriter writer(kernel, queries.matrix.dtype);
    tasks.each([&](int64_t block) {
      const int64_t begin = block * block_size;
      const int64_t count = std::min(block_size, queries.size() - begin);
      search.run(begin, count);
      BlockSupport& found = supports[static_cast<size_t>(block)];
      for (int64_t i = 0; i < count; ++i) {
        search.finish(i, support, weights);
        writer.append(support, weights, found);
      }
      found.columns.shrink_to_fit();  // these are all that grows with the number of queries
      found.weights.shrink_to_fit();
    });
  });
  return supports;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> cosine_sparsemax_cpu(const Tensor& queries, const Tensor& keys, double temperature) {
  validate_cosine_sparsemax(queries, keys, temperature);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor key_rows = with_dense_rows(keys);
  const Directions query_side = unit_directions(view_of(query_rows, "queries"), "queries");
  const Directions key_side = unit_directions(view_of(key_rows, "keys"), "keys");
  const std::vector<BlockSupport> supports = query_side.matrix.dtype == DType::kFloat64
                                                 ? find_supports<double>(query_side, key_side, temperature)
                                                 : find_supports<float>(query_side, key_side, temperature);
  const int64_t rows = queries.size(0);
  int64_t nnz = 0;
  for (const BlockSupport& support : supports) {
    nnz += static_cast<int64_t>(support.columns.size());
  }
  Tensor crow = new_indices(queries, {rows + 1});
  Tensor col = new_indices(queries, {nnz});
  Tensor values = new_tensor(queries, {nnz});

  // Sizes first, at the places of the valid queries; then their running sum.
  int64_t* crow_data = indices_data(crow);
  std::fill(crow_data, crow_data + rows + 1, 0);
  int64_t* col_data = indices_data(col);
  std::byte* value_data = static_cast<std::byte*>(values.mutable_data_ptr());
  size_t valid = 0;
  int64_t entry = 0;
  for (const BlockSupport& support : supports) {
    for (const int64_t size : support.sizes) {
      crow_data[query_side.valid[valid++] + 1] = size;
    }
    std::copy(support.columns.begin(), support.columns.end(), col_data + entry);
    std::copy(support.weights.begin(), support.weights.end(),
              value_data + entry * element_size(query_side.matrix.dtype));
    entry += static_cast<int64_t>(support.columns.size());
  }
  for (int64_t row = 0; row < rows; ++row) {
    crow_data[row + 1] += crow_data[row];
  }
  return {crow, col, values};
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("cosine_sparsemax", TORCH_BOX(&cosine_sparsemax_cpu)); }

}  // namespace salt
