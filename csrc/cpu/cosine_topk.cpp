#include "../ops/cosine_topk.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "directions.h"
#include "threads.h"
#include "tiles.h"
#include "topk_row.h"

namespace salt {
namespace {

template <class T>
void find_topk(const Directions& queries, const Directions& keys, int64_t k, std::byte* values, int64_t* indices) {
  const Kernels& kernel = kernels();
  const DType dtype = queries.matrix.dtype;
  const int threads = threads_for(product_size(queries, keys));
  const int64_t block_size = query_block(queries.size(), threads);
  const int64_t blocks = (queries.size() + block_size - 1) / block_size;
#pragma omp parallel num_threads(threads)
  {
    TileEngine<T> engine(kernel);
    std::vector<TopkRow<T>> rows(kQueryBlock);
    std::vector<T> cuts(kQueryBlock);  // what a score must exceed, per row
    std::vector<T> scores_of_row(static_cast<size_t>(k));
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * block_size;
      const int64_t count = std::min(block_size, queries.size() - begin);
      for (auto& row : rows) {
        row.reset();
      }
      std::fill(cuts.begin(), cuts.end(), -std::numeric_limits<T>::infinity());
      engine.run(queries, begin, count, keys, cuts.data(), false, [&](const Tile<T>& tile) {
        for (int64_t i = 0; i < count; ++i) {
          if (!tile.any_marked(i)) {
            continue;
          }
          TopkRow<T>& row = rows[static_cast<size_t>(i)];
          tile.for_each_marked(i, [&row](int64_t column, T score) { row.add(column, score); });
          if (row.wants_pruning(k)) {
            cuts[static_cast<size_t>(i)] = row.prune(k);
          }
        }
      });
      for (int64_t i = 0; i < count; ++i) {
        const auto& best = rows[static_cast<size_t>(i)].finish(k);
        const int64_t row = queries.valid[static_cast<size_t>(begin + i)];
        for (size_t slot = 0; slot < best.size(); ++slot) {
          scores_of_row[slot] = best[slot].score;
          indices[row * k + static_cast<int64_t>(slot)] = keys.valid[static_cast<size_t>(best[slot].column)];
        }
        (kernel.*Arithmetic<T>::narrow)(dtype, scores_of_row.data(), static_cast<int64_t>(best.size()),
                                        values + row * k * element_size(dtype));
      }
    }
  }
}

}  // namespace

std::tuple<Tensor, Tensor> cosine_topk_cpu(const Tensor& queries, const Tensor& keys, int64_t k) {
  validate_cosine_topk(queries, keys, k);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor key_rows = with_dense_rows(keys);
  const Directions query_side = unit_directions(view_of(query_rows, "queries"), "queries");
  const Directions key_side = unit_directions(view_of(key_rows, "keys"), "keys");
  Tensor values = torch::stable::new_empty(queries, {queries.size(0), k});
  Tensor indices = new_indices(queries, {queries.size(0), k});
  // Slots that stay unused: no similarity.
  torch::stable::fill_(values, -std::numeric_limits<double>::infinity());
  int64_t* index_data = indices_data(indices);
  std::fill(index_data, index_data + indices.numel(), -1);
  std::byte* value_data = static_cast<std::byte*>(values.mutable_data_ptr());
  if (query_side.matrix.dtype == DType::kFloat64) {
    find_topk<double>(query_side, key_side, k, value_data, index_data);
  } else {
    find_topk<float>(query_side, key_side, k, value_data, index_data);
  }
  return {values, indices};
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("cosine_topk", TORCH_BOX(&cosine_topk_cpu)); }

}  // namespace salt
