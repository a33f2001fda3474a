// Which keys may matter to each query of a block, by bounds of their scores (coarse.h): lower bounds of the scores seen
// so far prove a cut, and a key whose upper bound does not exceed it is out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "coarse.h"

namespace salt {

// How many candidates of a row cost more than they save: time hangs on it, results do not.
struct CrowdLimit {
  size_t usual;  // no row is crowded for having so many
  bool of_all;   // all rows together must have many, too: survivors that are scored together make a few crowds cheap
};

// `Cut` says what an upper bound must exceed to matter: cut(lower bounds, how many, the cut before). It never exceeds
// what it would be for all keys' own scores. One per thread.
template <class Cut>
class CoarseCandidates {
 public:
  CoarseCandidates(const Kernels& kernels, const CoarseKeys& keys, double slack, Cut cut, CrowdLimit limit)
      : keys_(keys),
        cut_(std::move(cut)),
        engine_(kernels, keys, slack),
        rows_(kQueryBlock),
        cuts_(kQueryBlock),
        limit_(limit),
        first_prune_(std::max(kFirstPrune, limit.usual)),
        crowd_(limit.usual + std::max(kSmallCrowd, static_cast<size_t>(keys.size() / 32))) {}

  void run(const Directions& queries, int64_t begin, int64_t count) {
    engine_.pack(queries, begin, count);
    count_ = count;
    kept_ = 0;
    for (Row& row : rows_) {
      row.reset(first_prune_);
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

  // The keys of query i that may matter, ascending. Once per row.
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
    void reset(size_t first_prune) {
      size = 0;
      cut = -std::numeric_limits<double>::infinity();
      prune_at = first_prune;
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
    double cut = -std::numeric_limits<double>::infinity();
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
    row.prune_at = std::max(first_prune_, 2 * row.size);
    row.kept = row.size;
    kept_ += row.kept;
    row.crowded = row.size > crowd_ && (!limit_.of_all || 2 * kept_ > crowd_ * static_cast<size_t>(count_));
    cuts_[static_cast<size_t>(i)] = row.crowded ? std::numeric_limits<double>::infinity() : row.cut;
  }

  void prune(Row& row) {
    if (row.size == 0) {
      return;
    }
    row.cut = cut_(row.lower.data(), row.size, row.cut);
    size_t kept = 0;
    for (size_t j = 0; j < row.size; ++j) {
      row.places[kept] = row.places[j];
      row.lower[kept] = row.lower[j];
      row.upper[kept] = row.upper[j];
      kept += row.upper[j] > row.cut;
    }
    row.size = kept;
  }

  const CoarseKeys& keys_;
  Cut cut_;
  CoarseEngine engine_;
  std::vector<Row> rows_;
  std::vector<double> cuts_;  // what an upper bound must exceed, per row
  const CrowdLimit limit_;
  const size_t first_prune_;
  const size_t crowd_;  // candidates of a row
  int64_t count_ = 0;   // rows of the block
  size_t kept_ = 0;     // by all of them
};

}  // namespace salt
