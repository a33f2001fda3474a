#include "../ops/cosine_topk.h"

#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "coarse_candidates.h"
#include "directions.h"
#include "pair_scores.h"
#include "parallel.h"
#include "tiles.h"
#include "topk_row.h"

namespace salt {
namespace {

// The k best keys of one block of queries at a time. One per thread.
template <class T>
class TopkBlock {
 public:
  // `coarse` are the keys in eight bits, or null.
  TopkBlock(const Kernels& kernels, const Directions& queries, const Directions& keys, const CoarseKeys* coarse,
            int64_t k)
      : queries_(queries),
        keys_(keys),
        k_(k),
        engine_(kernels),
        pairs_(kernels),
        rows_(kQueryBlock),
        cuts_(kQueryBlock) {
    if (coarse != nullptr) {
      // What is bounded are the scores of TileEngine<float>, ties and all.
      coarse_.emplace(kernels, *coarse, float_slack(keys.matrix.cols), TopkCut(k),
                      CrowdLimit{2 * static_cast<size_t>(k), false});
    }
  }

  // Searches for the valid queries begin .. begin + count - 1; then finish(0) .. finish(count - 1).
  void run(int64_t begin, int64_t count) {
    for (auto& row : rows_) {
      row.reset();
    }
    left_.clear();
    if (coarse_) {
      coarse_->run(queries_, begin, count);
    }
    for (int64_t i = 0; i < count; ++i) {
      if (coarse_ && !coarse_->gave_up(i)) {
        score_survivors(begin, i);
      } else {
        left_.push_back(i);
      }
    }
    search(begin);
    if (coarse_ && 2 * static_cast<int64_t>(left_.size()) > count) {
      coarse_.reset();  // such queries will follow
    }
  }

  const std::vector<typename TopkRow<T>::Entry>& finish(int64_t i) { return rows_[static_cast<size_t>(i)].finish(k_); }

 private:
  void score_survivors(int64_t begin, int64_t i) {
    coarse_->survivors(i, columns_);
    pairs_.run(queries_, begin + i, keys_, columns_, scores_);
    for (size_t j = 0; j < columns_.size(); ++j) {
      rows_[static_cast<size_t>(i)].add(columns_[j], scores_[j]);
    }
  }

  // The queries begin + left_[.], which have no bounds.
  void search(int64_t begin) {
    if (left_.empty()) {
      return;
    }
    const Directions part = queries_.subset(begin, left_);
    std::fill(cuts_.begin(), cuts_.end(), -std::numeric_limits<T>::infinity());
    engine_.run(part, 0, part.size(), keys_, cuts_.data(), false, [&](const Tile<T>& tile) {
      for (int64_t slot = 0; slot < part.size(); ++slot) {
        if (!tile.any_marked(slot)) {
          continue;
        }
        TopkRow<T>& row = rows_[static_cast<size_t>(left_[static_cast<size_t>(slot)])];
        tile.for_each_marked(slot, [&row](int64_t column, T score) { row.add(column, score); });
        if (row.wants_pruning(k_)) {
          cuts_[static_cast<size_t>(slot)] = row.prune(k_);
        }
      }
    });
  }

  const Directions& queries_;
  const Directions& keys_;
  const int64_t k_;
  std::optional<CoarseCandidates<TopkCut>> coarse_;
  TileEngine<T> engine_;
  PairScores pairs_;
  std::vector<TopkRow<T>> rows_;
  std::vector<int64_t> left_;  // the rows without bounds
  std::vector<T> cuts_;        // what a score must exceed, by place in left_
  std::vector<int64_t> columns_;
  std::vector<float> scores_;
};

template <class T>
void find_topk(const Directions& queries, const Directions& keys, int64_t k, std::byte* values, int64_t* indices) {
  const Kernels& kernel = kernels();
  const DType dtype = queries.matrix.dtype;
  const int threads = threads_for(product_size(queries, keys));
  const int64_t block_size = query_block(queries.size(), threads);
  const int64_t blocks = (queries.size() + block_size - 1) / block_size;
  const std::optional<CoarseKeys> coarse = CoarseKeys::of(kernel, keys, queries.size(), threads);
  share_tasks(threads, blocks, 1, [&](Tasks& tasks) {
    TopkBlock<T> search(kernel, queries, keys, coarse ? &*coarse : nullptr, k);
    std::vector<T> scores_of_row(static_cast<size_t>(k));
    tasks.each([&](int64_t block) {
      const int64_t begin = block * block_size;
      const int64_t count = std::min(block_size, queries.size() - begin);
      search.run(begin, count);
      for (int64_t i = 0; i < count; ++i) {
        const auto& best = search.finish(i);
        const int64_t row = queries.valid[static_cast<size_t>(begin + i)];
        for (size_t slot = 0; slot < best.size(); ++slot) {
          scores_of_row[slot] = best[slot].score;
          indices[row * k + static_cast<int64_t>(slot)] = keys.valid[static_cast<size_t>(best[slot].column)];
        }
        (kernel.*Arithmetic<T>::narrow)(dtype, scores_of_row.data(), static_cast<int64_t>(best.size()),
                                        values + row * k * element_size(dtype));
      }
    });
  });
}

}  // namespace

std::tuple<Tensor, Tensor> cosine_topk_cpu(const Tensor& queries, const Tensor& keys, int64_t k) {
  validate_cosine_topk(queries, keys, k);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor key_rows = with_dense_rows(keys);
  const Directions query_side = unit_directions(view_of(query_rows, "queries"), "queries");
  const Directions key_side = unit_directions(view_of(key_rows, "keys"), "keys");
  Tensor values = new_tensor(queries, {queries.size(0), k});
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
