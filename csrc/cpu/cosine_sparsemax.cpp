#include "../ops/cosine_sparsemax.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "directions.h"
#include "sparsemax_row.h"
#include "threads.h"
#include "tiles.h"

namespace salt {
namespace {

// What one block of queries found, row after row.
struct BlockSupport {
  std::vector<int64_t> sizes;
  std::vector<int64_t> columns;
  std::vector<double> weights;
};

// Weights as `dtype` keeps them: narrowed, then widened again. One per thread, memory reused.
struct Rounding {
  std::vector<std::byte> narrow;
  std::vector<double> wide;

  const std::vector<double>& of(const Kernels& kernel, DType dtype, const std::vector<double>& weights) {
    const int64_t n = static_cast<int64_t>(weights.size());
    narrow.resize(weights.size() * static_cast<size_t>(element_size(dtype)));
    wide.resize(weights.size());
    kernel.narrow_f64(dtype, weights.data(), n, narrow.data());
    kernel.widen_f64(dtype, narrow.data(), n, wide.data());
    return wide;
  }
};

// Appends one row's support, less the weights that are zero once rounded.
void append_row(const std::vector<int64_t>& columns, const std::vector<double>& weights,
                const std::vector<double>& rounded, BlockSupport& out) {
  int64_t size = 0;
  for (size_t i = 0; i < rounded.size(); ++i) {
    if (rounded[i] > 0) {
      out.columns.push_back(columns[i]);
      out.weights.push_back(weights[i]);
      ++size;
    }
  }
  out.sizes.push_back(size);
}

template <class T>
std::vector<BlockSupport> find_supports(const Directions& queries, const Directions& keys, double temperature) {
  const Kernels& kernel = kernels();
  const int threads = threads_for(product_size(queries, keys));
  const int64_t block_size = query_block(queries.size(), threads);
  const int64_t blocks = (queries.size() + block_size - 1) / block_size;
  std::vector<BlockSupport> supports(static_cast<size_t>(blocks));
#pragma omp parallel num_threads(threads)
  {
    SparsemaxBlock<T> search(kernel, queries, keys, temperature);
    std::vector<int64_t> support;
    std::vector<double> weights;
    Rounding rounding;
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * block_size;
      const int64_t count = std::min(block_size, queries.size() - begin);
      search.run(begin, count);
      for (int64_t i = 0; i < count; ++i) {
        search.finish(i, support, weights);
        append_row(support, weights, rounding.of(kernel, queries.matrix.dtype, weights),
                   supports[static_cast<size_t>(block)]);
      }
    }
  }
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
  Tensor values = torch::stable::new_empty(queries, {nnz});

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
    const DType dtype = query_side.matrix.dtype;
    kernels().narrow_f64(dtype, support.weights.data(), static_cast<int64_t>(support.weights.size()),
                         value_data + entry * element_size(dtype));
    entry += static_cast<int64_t>(support.columns.size());
  }
  for (int64_t row = 0; row < rows; ++row) {
    crow_data[row + 1] += crow_data[row];
  }
  return {crow, col, values};
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("cosine_sparsemax", TORCH_BOX(&cosine_sparsemax_cpu)); }

}  // namespace salt
