// The pre-selection that cosine_sparsemax, transfer and cosine_topk share: tiles of approximate scores are made by the
// tensor cores and looked through at once, while they lie in the second-level cache, so that per query only a bounded
// number of survivors is left, of which the chosen keys are some, whatever the scores' error.
//
// Floor per query and key: 2 D operations on tensor cores, and 4 bytes to and from the second-level cache.
#pragma once

#include "kernels/exact.cuh"
#include "kernels/select.cuh"
#include "runtime/launch.h"
#include "scores.h"

namespace salt::cuda {

// What errors call the two sides.
struct SearchNames {
  const char* queries = "queries";
  const char* keys = "keys";
};

// How far below a bound computed from approximate scores a chosen key's score may lie: the scores are off by at most
// `error`, the bound likewise, and the bound's own arithmetic in float32 by less than 2^-15 (at most 160 additions per
// lane of numbers up to 1.01, averaged).
inline float preselection_margin(int64_t depth) { return static_cast<float>(2 * score_error(depth) + 0x1p-15); }

class Preselection {
 public:
  // `capacity`: survivors that a query may have.
  Preselection(const Context& context, const MatrixView& queries, const MatrixView& keys, const SearchNames& names,
               int capacity);

  const Context& context() const { return context_; }
  int64_t block_rows() const { return block_rows_; }
  ExactRows keys() const { return {keys_.matrix, keys_.norm.data()}; }
  ExactRows queries(int64_t begin, int64_t count) const {
    return {queries_.matrix.slice(begin, count), queries_.norm.data() + begin};
  }

  // The survivors of queries begin .. begin + count - 1 under `bound`, valid until the next call. There is a key.
  template <class Bound>
  Survivors run(int64_t begin, int64_t count, const Bound& bound) {
    const Survivors survivors{columns_.data(), scores_.data(), sizes_.data(), cuts_.data(), capacity_};
    for (int64_t first = 0; first < keys_.matrix.rows; first += tile_width_) {
      const int64_t width = padded_rows(std::min(tile_width_, keys_.matrix.rows - first));
      score_tile(context_, queries_.row(begin), count, keys_.row(first), width, keys_.width, tile_.data(), tile_width_);
      launch(context_, select_survivors<Bound>, {blocks_for(count, kSelectThreads / kWarpSize), kSelectThreads},
             tile_.data(), tile_width_, count, first, static_cast<int>(width / kScoresPerGroup),
             queries_.norm.data() + begin, has_direction_.data(), survivors, bound);
    }
    return survivors;
  }

 private:
  // With kKeyTile columns a tile takes 32 MB, which the second-level cache of an H100 or H200 holds.
  static constexpr int64_t kMostRows = 4096;
  static constexpr int64_t kMostKeys = 0x7fffffff - kKeyTile;

  const Context& context_;
  const UnitRows queries_;
  const UnitRows keys_;
  const int64_t block_rows_;
  const int64_t tile_width_;
  const int capacity_;
  const Buffer<uint8_t> has_direction_;
  const Buffer<__half> tile_;
  const Buffer<int32_t> columns_;
  const Buffer<__half> scores_;
  const Buffer<int32_t> sizes_;
  const Buffer<float> cuts_;
};

// Blocks that score all keys for the queries that overflowed, each in `bytes` of its own: as many as keep the device
// busy, within a budget.
int64_t exact_blocks(const Context& context, int64_t queries, int64_t bytes);

}  // namespace salt::cuda
