// The k highest scores of one row whose scores arrive tile by tile: ties go to the lower column.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "tiles.h"

namespace salt {

template <class T>
class TopkRow {
 public:
  struct Entry {
    T score;
    int64_t column;
    // Whether this entry ranks before `other`.
    bool operator<(const Entry& other) const {
      return score != other.score ? score > other.score : column < other.column;
    }
  };

  void reset() { entries_.clear(); }

  // Columns must come in ascending order: a later one that only equals the k-th best ranks behind it.
  void add(int64_t column, T score) { entries_.push_back({score, column}); }

  bool wants_pruning(int64_t k) const { return static_cast<int64_t>(entries_.size()) >= std::max<int64_t>(64, 2 * k); }

  // Drops what is not among the k best; returns the cut that later scores must exceed.
  T prune(int64_t k) {
    keep_best(k);
    return entries_.back().score;
  }

  // The best entries, in rank order; fewer than k where fewer were seen.
  const std::vector<Entry>& finish(int64_t k) {
    keep_best(k);
    std::sort(entries_.begin(), entries_.end());
    return entries_;
  }

 private:
  void keep_best(int64_t k) {
    if (static_cast<int64_t>(entries_.size()) >= k) {
      std::nth_element(entries_.begin(), entries_.begin() + (k - 1), entries_.end());
      entries_.resize(static_cast<size_t>(k));
    }
  }

  std::vector<Entry> entries_;
};

}  // namespace salt
