// Which keys may be among the k best of each query of a block, by bounds of their scores (coarse.h).
//
// The k-th highest of the lower bounds of some scores never exceeds the k-th highest score, so a key whose upper bound
// is below that is out. What is bounded are the scores of TileEngine<float>, ties and all: `slack` allows for them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "coarse.h"

namespace salt {

// One per thread.
class CoarseTopk {
 public:
  CoarseTopk(const Kernels& kernels, const CoarseKeys& keys, int64_t k, int64_t depth)
      : keys_(keys),
        k_(static_cast<size_t>(k)),
        engine_(kernels, keys, float_slack(depth)),
        rows_(kQueryBlock),
        cuts_(kQueryBlock),
        crowd_(2 * k_ + std::max<size_t>(256, static_cast<size_t>(keys.size() / 32))) {}

  void run(const Directions& queries, int64_t begin, int64_t count) {
    engine_.pack(queries, begin, count);
    for (Row& row : rows_) {
      row.entries.clear();
      row.prune_at = std::max(kFirstPrune, 2 * k_);
      row.crowded = false;
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

  // The keys of query i that may be among its k best, ascending. Once per row.
  void survivors(int64_t i, std::vector<int64_t>& columns) {
    Row& row = rows_[static_cast<size_t>(i)];
    prune(row);
    columns.clear();
    for (const Entry& entry : row.entries) {
      columns.push_back(keys_.key(entry.place));
    }
    std::sort(columns.begin(), columns.end());
  }

 private:
  static constexpr size_t kFirstPrune = 64;

  struct Entry {
    double lower;
    double upper;
    int64_t place;
  };

  struct Row {
    std::vector<Entry> entries;
    size_t prune_at = kFirstPrune;
    bool crowded = false;
  };

  void add(int64_t i, const Tile<int32_t>& tile, int64_t index) {
    Row& row = rows_[static_cast<size_t>(i)];
    const double scale = engine_.scale(i, index);
    const double error = engine_.error(i, index);
    tile.for_each_marked(i, [&](int64_t place, int32_t product) {
      row.entries.push_back({product * scale - error, product * scale + error, place});
    });
    if (row.entries.size() < row.prune_at) {
      return;
    }
    const double lowest = prune(row);
    row.prune_at = std::max(row.prune_at, 2 * row.entries.size());
    row.crowded = row.entries.size() > crowd_;
    cuts_[static_cast<size_t>(i)] = row.crowded ? std::numeric_limits<double>::infinity() : lowest;
  }

  // Drops what cannot be among the k best; returns the k-th highest lower bound.
  double prune(Row& row) {
    std::vector<Entry>& entries = row.entries;
    if (entries.size() <= k_) {
      return -std::numeric_limits<double>::infinity();
    }
    const auto kth = entries.begin() + static_cast<int64_t>(k_) - 1;
    std::nth_element(entries.begin(), kth, entries.end(),
                     [](const Entry& a, const Entry& b) { return a.lower > b.lower; });
    const double lowest = kth->lower;
    entries.erase(std::remove_if(kth + 1, entries.end(), [lowest](const Entry& entry) { return entry.upper < lowest; }),
                  entries.end());
    return lowest;
  }

  const CoarseKeys& keys_;
  const size_t k_;
  CoarseEngine engine_;
  std::vector<Row> rows_;
  std::vector<double> cuts_;  // what an upper bound must reach, per row
  const size_t crowd_;        // more candidates than this cost more than they save
};

}  // namespace salt
