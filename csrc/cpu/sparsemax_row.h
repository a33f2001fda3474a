// Sparsemax of one row of scores that arrive tile by tile (Martins & Astudillo 2016).
//
// sparsemax(s / T) keeps the scores above the threshold tau that solves sum(max(0, s - tau)) = T, with weights
// (s - tau) / T. The tau of a subset never exceeds the tau of the whole, so tau of what has been seen prunes exactly:
// a score at or below it can be dropped for good. tau itself comes from Michelot's iteration in float64, which needs no
// sort: average the kept scores, drop those at or below, repeat; it ends after at most as many rounds as scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tiles.h"

namespace salt {

template <class T>
class SparsemaxRow {
 public:
  void reset() {
    columns_.clear();
    scores_.clear();
    cut_ = -std::numeric_limits<T>::infinity();
    prune_at_ = kFirstPrune;
  }

  // Scores of the columns first, first + 1, ...; tiles must come in ascending order. `positions` has room for count.
  void add(const Kernels& kernels, const T* scores, int64_t first, int64_t count, double temperature,
           int32_t* positions) {
    const int64_t chosen = (kernels.*Arithmetic<T>::select)(scores, count, cut_, positions);
    for (int64_t i = 0; i < chosen; ++i) {
      columns_.push_back(first + positions[i]);
      scores_.push_back(scores[positions[i]]);
    }
    if (columns_.size() >= prune_at_) {
      prune(temperature);
      prune_at_ = std::max(kFirstPrune, 2 * columns_.size());
    }
  }

  // Leaves the support in columns() (ascending) and its weights, float64 and summing to 1, in `weights`.
  void finish(double temperature, std::vector<double>& weights) {
    const double tau = prune(temperature);
    weights.resize(scores_.size());
    double sum = 0;
    for (size_t i = 0; i < scores_.size(); ++i) {
      weights[i] = static_cast<double>(scores_[i]) - tau;
      sum += weights[i];
    }
    for (double& weight : weights) {
      weight /= sum;  // sum is the temperature but for rounding
    }
  }

  const std::vector<int64_t>& columns() const { return columns_; }

 private:
  static constexpr size_t kFirstPrune = 64;

  // Drops what cannot be in the support and returns the threshold of what has been seen.
  double prune(double temperature) {
    const double tau = threshold(temperature);
    size_t kept = 0;
    for (size_t i = 0; i < scores_.size(); ++i) {
      if (static_cast<double>(scores_[i]) > tau) {
        scores_[kept] = scores_[i];
        columns_[kept] = columns_[i];
        ++kept;
      }
    }
    scores_.resize(kept);
    columns_.resize(kept);
    // Rounded down, so that a score between tau and its nearest T is still looked at.
    const T rounded = static_cast<T>(tau);
    cut_ = static_cast<double>(rounded) > tau ? std::nextafter(rounded, -std::numeric_limits<T>::infinity()) : rounded;
    return tau;
  }

  double threshold(double temperature) const {
    if (scores_.empty()) {
      return -std::numeric_limits<double>::infinity();
    }
    // Where the temperature is below the scores' own rounding, the highest scores share the weight.
    const double highest = static_cast<double>(*std::max_element(scores_.begin(), scores_.end()));
    const double ceiling = std::nextafter(highest, -std::numeric_limits<double>::infinity());
    double tau = -std::numeric_limits<double>::infinity();
    size_t above = scores_.size() + 1;
    for (;;) {
      double sum = 0;
      size_t count = 0;
      for (const T score : scores_) {
        if (static_cast<double>(score) > tau) {
          sum += static_cast<double>(score);
          ++count;
        }
      }
      if (count == above) {
        return tau;
      }
      above = count;
      tau = std::min(ceiling, (sum - temperature) / static_cast<double>(count));
    }
  }

  std::vector<int64_t> columns_;
  std::vector<T> scores_;
  T cut_ = -std::numeric_limits<T>::infinity();
  size_t prune_at_ = kFirstPrune;
};

// The supports of one block of queries: what cosine_sparsemax and transfer share. One per thread.
template <class T>
class SparsemaxBlock {
 public:
  explicit SparsemaxBlock(const Kernels& kernels)
      : kernels_(kernels), engine_(kernels), rows_(kQueryBlock), positions_(kKeyTile) {}

  // Searches the keys for the valid queries begin .. begin + count - 1; then row(i) is ready to finish.
  void run(const Directions& queries, int64_t begin, int64_t count, const Directions& keys, double temperature) {
    for (auto& row : rows_) {
      row.reset();
    }
    engine_.run(queries, begin, count, keys, [&](int64_t first, int64_t n, const T* scores, int64_t ld) {
      for (int64_t i = 0; i < count; ++i) {
        row(i).add(kernels_, scores + i * ld, first, n, temperature, positions_.data());
      }
    });
  }

  SparsemaxRow<T>& row(int64_t index) { return rows_[static_cast<size_t>(index)]; }

 private:
  const Kernels& kernels_;
  TileEngine<T> engine_;
  std::vector<SparsemaxRow<T>> rows_;
  std::vector<int32_t> positions_;
};

}  // namespace salt
