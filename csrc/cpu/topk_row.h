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

  void reset() {
    entries_.clear();
    cut_ = -std::numeric_limits<T>::infinity();
  }

  // Tiles must come in ascending order: a later column that only equals the k-th best then ranks behind it.
  void add(const Kernels& kernels, const T* scores, int64_t first, int64_t count, int64_t k, int32_t* positions) {
    const int64_t chosen = (kernels.*Arithmetic<T>::select)(scores, count, cut_, positions);
    for (int64_t i = 0; i < chosen; ++i) {
      entries_.push_back({scores[positions[i]], first + positions[i]});
    }
    if (static_cast<int64_t>(entries_.size()) >= std::max<int64_t>(64, 2 * k)) {
      keep_best(k);
    }
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
      cut_ = entries_.back().score;
    }
  }

  std::vector<Entry> entries_;
  T cut_ = -std::numeric_limits<T>::infinity();
};

}  // namespace salt
