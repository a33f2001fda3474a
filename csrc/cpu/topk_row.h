// The k highest scores of one row whose scores arrive tile by tile: ties go to the lower column.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
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

// The cut of CoarseCandidates for the k best: the k-th highest of lower bounds of some scores never exceeds the k-th
// highest score. An upper bound that equals it still matters, since ties go by column.
class TopkCut {
 public:
  explicit TopkCut(int64_t k) : k_(static_cast<size_t>(k)) {}

  double operator()(const double* lower, size_t size, double before) {
    if (size <= k_) {
      return before;
    }
    scratch_.assign(lower, lower + size);
    const auto kth = scratch_.begin() + static_cast<int64_t>(k_) - 1;
    std::nth_element(scratch_.begin(), kth, scratch_.end(), std::greater<>());
    return std::nextafter(*kth, -std::numeric_limits<double>::infinity());
  }

 private:
  const size_t k_;
  std::vector<double> scratch_;
};

}  // namespace salt
