// Which keys may belong to the sparsemax support of each query of a block, by bounds of their scores (coarse.h).
//
// tau grows with every score and with every key that is added. So tau of lower bounds of some of the scores never
// exceeds the true tau, and a key whose upper bound does not exceed that is out: its score does not exceed tau.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "coarse.h"
#include "sparsemax_threshold.h"

namespace salt {

// One per thread.
class CoarseSparsemax {
 public:
  CoarseSparsemax(const Kernels& kernels, const CoarseKeys& keys, double temperature, double slack)
      : kernels_(kernels),
        keys_(keys),
        temperature_(temperature),
        engine_(kernels, keys, slack),
        rows_(kQueryBlock),
        cuts_(kQueryBlock),
        crowd_(std::max(kSmallCrowd, static_cast<size_t>(keys.size() / 32))) {}

  void run(const Directions& queries, int64_t begin, int64_t count) {
    engine_.pack(queries, begin, count);
    count_ = count;
    kept_ = 0;
    for (Row& row : rows_) {
      row.reset();
    }
    std::fill(cuts_.begin(), cuts_.end(), -std::numeric_limits<double>::infinity());
    engine_.run(cuts_.data(), false, [&](const Tile<int32_t>& tile, int64_t index) {
      for (int64_t i = 0; i < count; ++i) {
        if (tile.any_marked(i)) {
          add(i, tile, index);
        }
      }
    });
  }

  // Whether query i is bounded too loosely for this to pay: its survivors are not known.
  bool gave_up(int64_t i) const { return rows_[static_cast<size_t>(i)].crowded; }

  // The keys of query i that may belong to its support, ascending. Once per row.
  void survivors(int64_t i, std::vector<int64_t>& columns) {
    Row& row = rows_[static_cast<size_t>(i)];
    prune(row);
    columns.clear();
    for (size_t j = 0; j < row.size; ++j) {
      columns.push_back(keys_.key(row.places[j]));
    }
    std::sort(columns.begin(), columns.end());
  }

 private:
  static constexpr size_t kFirstPrune = 64;
  static constexpr size_t kSmallCrowd = 256;

  struct Row {
    void reset() {
      size = 0;
      tau = -std::numeric_limits<double>::infinity();
      prune_at = kFirstPrune;
      kept = 0;
      crowded = false;
    }

    void reserve(size_t room) {
      if (places.size() < room) {
        places.resize(2 * room);
        lower.resize(2 * room);
        upper.resize(2 * room);
      }
    }

    size_t size = 0;  // of the three, which are longer: a tile's candidates are added without a look at the room
    std::vector<int32_t> places;
    std::vector<double> lower;
    std::vector<double> upper;
    double tau = -std::numeric_limits<double>::infinity();
    size_t prune_at = kFirstPrune;
    size_t kept = 0;  // when it was pruned last
    bool crowded = false;
  };

  void add(int64_t i, const Tile<int32_t>& tile, int64_t index) {
    Row& row = rows_[static_cast<size_t>(i)];
    const double scale = engine_.scale(i, index);
    const double error = engine_.error(i, index);
    row.reserve(row.size + kKeyTile);
    tile.for_each_marked(i, [&](int64_t place, int32_t product) {
      row.places[row.size] = static_cast<int32_t>(place);
      row.lower[row.size] = product * scale - error;
      row.upper[row.size] = product * scale + error;
      ++row.size;
    });
    if (row.size < row.prune_at) {
      return;
    }
    kept_ -= row.kept;
    prune(row);
    row.prune_at = std::max(kFirstPrune, 2 * row.size);
    row.kept = row.size;
    kept_ += row.kept;
    row.crowded = row.size > crowd_ && 2 * kept_ > crowd_ * static_cast<size_t>(count_);
    cuts_[static_cast<size_t>(i)] = row.crowded ? std::numeric_limits<double>::infinity() : row.tau;
  }

  void prune(Row& row) {
    if (row.size == 0) {
      return;
    }
    row.tau = sparsemax_threshold(kernels_, row.lower.data(), row.size, temperature_, row.tau);
    size_t kept = 0;
    for (size_t j = 0; j < row.size; ++j) {
      row.places[kept] = row.places[j];
      row.lower[kept] = row.lower[j];
      row.upper[kept] = row.upper[j];
      kept += row.upper[j] > row.tau;
    }
    row.size = kept;
  }

  const Kernels& kernels_;
  const CoarseKeys& keys_;
  const double temperature_;
  CoarseEngine engine_;
  std::vector<Row> rows_;
  std::vector<double> cuts_;  // what an upper bound must exceed, per row
  const size_t crowd_;        // more candidates of a row than this cost more than they save, unless few rows have them
  int64_t count_ = 0;         // rows of the block
  size_t kept_ = 0;           // by all of them
};

}  // namespace salt
