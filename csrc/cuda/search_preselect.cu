#include "search_preselect.h"

namespace salt::cuda {
namespace {

// has_direction of all keys, for survivors.cuh.
__global__ void __launch_bounds__(kSelectThreads)
    mark_directions(const double* key_norms, int64_t keys, uint8_t* has_direction) {
  const int64_t group = thread_of_grid();
  const int64_t begin = group * kScoresPerGroup;
  if (begin >= keys) {
    return;
  }
  unsigned bits = 0;
  for (int j = 0; j < kScoresPerGroup && begin + j < keys; ++j) {
    bits |= static_cast<unsigned>(key_norms[begin + j] > 0) << j;
  }
  has_direction[group] = static_cast<uint8_t>(bits);
}

}  // namespace

Preselection::Preselection(const Context& context, const MatrixView& queries, const MatrixView& keys,
                           const SearchNames& names, int capacity)
    : context_(context),
      queries_(unit_rows(context, queries, names.queries)),
      keys_(unit_rows(context, keys, names.keys)),
      block_rows_(std::min<int64_t>(kMostRows, std::max<int64_t>(1, queries.rows))),
      tile_width_(std::min<int64_t>(kKeyTile, padded_rows(keys.rows))),
      capacity_(capacity),
      has_direction_(context.allocate<uint8_t>(padded_rows(keys.rows) / kScoresPerGroup)),
      tile_(context.allocate<__half>(block_rows_ * tile_width_)),
      columns_(context.allocate<int32_t>(block_rows_ * capacity)),
      scores_(context.allocate<__half>(block_rows_ * capacity)),
      sizes_(context.allocate<int32_t>(block_rows_)),
      cuts_(context.allocate<float>(block_rows_)) {
  SALT_CHECK(keys.rows <= kMostKeys, names.keys, ": found ", keys.rows, " rows, expected at most ", kMostKeys);
  launch(context, mark_directions, {blocks_for(has_direction_.size(), kSelectThreads), kSelectThreads},
         keys_.norm.data(), keys.rows, has_direction_.data());
}

int64_t exact_blocks(const Context& context, int64_t queries, int64_t bytes) {
  constexpr int64_t kBudget = int64_t{256} << 20;
  const int64_t most = std::min<int64_t>(queries, 2 * context.multiprocessors());
  return std::max<int64_t>(1, std::min(most, kBudget / std::max<int64_t>(1, bytes)));
}

}  // namespace salt::cuda
