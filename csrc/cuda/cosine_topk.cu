#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../ops/cosine_topk.h"
#include "kernels/exact_topk.cuh"
#include "search_preselect.h"

namespace salt::cuda {
namespace {

// Survivors that are kept per query: enough for k and for what approximate scores cannot tell apart.
int capacity_for(int64_t k) { return k <= 256 ? 1024 : 4096; }

// Beyond that all keys are scored in float64.
constexpr int64_t kMostSelected = 1024;

std::tuple<Tensor, Tensor> cosine_topk(const Tensor& queries, const Tensor& keys, int64_t k) {
  validate_cosine_topk(queries, keys, k);
  const Context context(queries);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor key_rows = with_dense_rows(keys);
  const int64_t rows = queries.size(0);
  const int64_t columns = keys.size(0);
  const int capacity = capacity_for(k);
  const bool select = k <= kMostSelected || columns <= capacity;
  Preselection preselection(context, view_of(query_rows, "queries"), view_of(key_rows, "keys"), {},
                            select ? capacity : 0);
  const TopkBound bound{static_cast<int>(k), preselection_margin(keys.size(1))};
  const int64_t room = power_of_two(columns);
  const int64_t all_keys_blocks =
      select && columns <= capacity ? 0 : exact_blocks(context, preselection.block_rows(), room * kRankingBytes);
  const Buffer<unsigned char> workspace = context.allocate<unsigned char>(all_keys_blocks * room * kRankingBytes);

  Tensor values = torch::stable::new_empty(queries, {rows, k});
  Tensor indices = new_indices(queries, {rows, k});
  // Nothing here waits for the device, so that a CUDA graph can record it: the queries that overflow are found there.
  for (int64_t begin = 0; begin < rows; begin += preselection.block_rows()) {
    const int64_t count = std::min(preselection.block_rows(), rows - begin);
    const ExactRows query_side = preselection.queries(begin, count);
    const ExactRows key_side = preselection.keys();
    int64_t* index_data = indices_data(indices) + begin * k;
    with_element(query_side.matrix.dtype, [&]<class Element>() {
      Element* value_data = static_cast<Element*>(values.mutable_data_ptr()) + begin * k;
      const int32_t* sizes = nullptr;
      if (select) {
        const Survivors survivors = preselection.run(begin, count, bound);
        launch(context, rank_survivors<Element>, {count, kRankThreads, static_cast<size_t>(capacity * kRankingBytes)},
               query_side, key_side, survivors, bound, value_data, index_data);
        sizes = survivors.sizes;
      }
      launch(context, rank_all_keys<Element>, {all_keys_blocks, kRankAllThreads}, query_side, key_side, sizes,
             workspace.data(), room, k, value_data, index_data);
    });
  }
  return {values, indices};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, m) { m.impl("cosine_topk", TORCH_BOX(&cosine_topk)); }

}  // namespace salt::cuda
