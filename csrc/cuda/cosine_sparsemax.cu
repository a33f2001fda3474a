#include <torch/csrc/stable/library.h>

#include <tuple>
#include <vector>

#include "../ops/cosine_sparsemax.h"
#include "convert.h"
#include "search.h"

namespace salt::cuda {
namespace {

constexpr int kThreads = 256;

// Row ends behind those of the blocks before.
__global__ void __launch_bounds__(kThreads)
    shift_rows(const int64_t* crow, int64_t rows, int64_t before, int64_t* shifted) {
  const int64_t row = thread_of_grid();
  if (row < rows) {
    shifted[row] = before + crow[row + 1];
  }
}

std::tuple<Tensor, Tensor, Tensor> cosine_sparsemax(const Tensor& queries, const Tensor& keys, double temperature) {
  validate_cosine_sparsemax(queries, keys, temperature);
  const Context context(queries);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor key_rows = with_dense_rows(keys);
  const MatrixView query_view = view_of(query_rows, "queries");
  SupportSearch search(context, query_view, view_of(key_rows, "keys"), temperature, {}, true);
  std::vector<BlockSupport> blocks;
  int64_t nnz = 0;
  for (int64_t begin = 0; begin < query_view.rows; begin += search.block_rows()) {
    blocks.push_back(search.run(begin, std::min(search.block_rows(), query_view.rows - begin)));
    nnz += blocks.back().nnz;
  }

  Tensor crow = new_indices(queries, {query_view.rows + 1});
  Tensor col = new_indices(queries, {nnz});
  Tensor values = torch::stable::new_empty(queries, {nnz});
  int64_t* crow_data = indices_data(crow);
  int64_t* col_data = indices_data(col);
  context.fill(crow_data, 0, sizeof(int64_t));
  int64_t row = 0;
  int64_t entry = 0;
  for (const BlockSupport& block : blocks) {
    launch(context, shift_rows, {blocks_for(block.rows, kThreads), kThreads}, block.crow.data(), block.rows, entry,
           crow_data + 1 + row);
    context.copy(col_data + entry, block.col.data(), static_cast<size_t>(block.nnz) * sizeof(int64_t));
    with_element(query_view.dtype, [&]<class Element>() {
      convert(context, block.weights.data(), block.nnz, static_cast<Element*>(values.mutable_data_ptr()) + entry);
    });
    row += block.rows;
    entry += block.nnz;
  }
  return {crow, col, values};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, m) { m.impl("cosine_sparsemax", TORCH_BOX(&cosine_sparsemax)); }

}  // namespace salt::cuda
