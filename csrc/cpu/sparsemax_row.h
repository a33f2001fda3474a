// Sparsemax of rows of cosines that arrive tile by tile (Martins & Astudillo 2016), exact for the inputs as given.
//
// sparsemax(s / T) keeps the scores above the threshold tau that solves sum(max(0, s - tau)) = T, with weights
// (s - tau) / T. The tau of a subset never exceeds the tau of the whole, so tau of what has been seen prunes exactly:
// a score at or below it can be dropped for good. tau itself comes from Michelot's iteration in float64, which needs no
// sort: average the kept scores, drop those at or below, repeat; it ends after at most as many rounds as scores.
//
// Which anchors support a token must not hang on rounding: the regression that follows jumps where a key comes or goes.
// So float32 scores only pre-select. A computed score and the tau of computed scores are each within `score_error` of
// the exact ones, hence whatever lies more than twice that below tau is out; the few survivors are scored again in
// float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tiles.h"

namespace salt {

// Bound on the error of a computed cosine: `depth` roundings of sums whose terms' magnitudes add up to at most 1
// (Cauchy and Schwarz), and four of the scaling to unit length. 0 for float64, whose scores are final.
template <class T>
double score_error(int64_t depth) {
  return sizeof(T) == 8 ? 0 : static_cast<double>(depth + 4) * 0x1p-24;
}

// The tau of non-empty `scores`.
template <class T>
double sparsemax_threshold(const std::vector<T>& scores, double temperature) {
  // Where the temperature is below the scores' own rounding, the highest scores share the weight.
  const double highest = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
  const double ceiling = std::nextafter(highest, -std::numeric_limits<double>::infinity());
  double tau = -std::numeric_limits<double>::infinity();
  size_t above = scores.size() + 1;
  for (;;) {
    double sum = 0;
    size_t count = 0;
    for (const T score : scores) {
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

// The keys that may still belong to the support of one query.
template <class T>
class SparsemaxCandidates {
 public:
  void reset() {
    columns.clear();
    scores.clear();
    cut_ = -std::numeric_limits<T>::infinity();
    prune_at_ = kFirstPrune;
  }

  // Scores of the columns first, first + 1, ...; tiles must come in ascending order. `positions` has room for count.
  void add(const Kernels& kernels, const T* tile, int64_t first, int64_t count, double temperature, double error,
           int32_t* positions) {
    const int64_t chosen = (kernels.*Arithmetic<T>::select)(tile, count, cut_, positions);
    for (int64_t i = 0; i < chosen; ++i) {
      columns.push_back(first + positions[i]);
      scores.push_back(tile[positions[i]]);
    }
    if (columns.size() >= prune_at_) {
      prune(temperature, error);
      prune_at_ = std::max(kFirstPrune, 2 * columns.size());
    }
  }

  void prune(double temperature, double error) {
    if (scores.empty()) {
      return;
    }
    const double floor = sparsemax_threshold(scores, temperature) - 2 * error;
    keep_above(floor, scores);
    // Rounded down, so that a score between the floor and its nearest T is still looked at.
    const T rounded = static_cast<T>(floor);
    cut_ =
        static_cast<double>(rounded) > floor ? std::nextafter(rounded, -std::numeric_limits<T>::infinity()) : rounded;
  }

  // Drops the columns whose entry in `by` is not above `floor`, and these entries.
  template <class Score>
  void keep_above(double floor, std::vector<Score>& by) {
    size_t kept = 0;
    for (size_t i = 0; i < by.size(); ++i) {
      if (static_cast<double>(by[i]) > floor) {
        by[kept] = by[i];
        columns[kept] = columns[i];
        ++kept;
      }
    }
    by.resize(kept);
    columns.resize(kept);
  }

  std::vector<int64_t> columns;  // among the valid keys, ascending
  std::vector<T> scores;

 private:
  static constexpr size_t kFirstPrune = 64;

  T cut_ = -std::numeric_limits<T>::infinity();
  size_t prune_at_ = kFirstPrune;
};

// The supports of one block of queries: what cosine_sparsemax and transfer share. One per thread.
template <class T>
class SparsemaxBlock {
 public:
  SparsemaxBlock(const Kernels& kernels, const Directions& queries, const Directions& keys, double temperature)
      : kernels_(kernels),
        queries_(queries),
        keys_(keys),
        temperature_(temperature),
        error_(score_error<T>(keys.matrix.cols)),
        engine_(kernels),
        rows_(kQueryBlock),
        positions_(kKeyTile),
        query_(static_cast<size_t>(keys.matrix.cols)),
        key_(query_.size()) {}

  // Pre-selects for the valid queries begin .. begin + count - 1; then finish(0) .. finish(count - 1).
  void run(int64_t begin, int64_t count) {
    begin_ = begin;
    for (auto& row : rows_) {
      row.reset();
    }
    engine_.run(queries_, begin, count, keys_, [&](int64_t first, int64_t n, const T* scores, int64_t ld) {
      for (int64_t i = 0; i < count; ++i) {
        rows_[static_cast<size_t>(i)].add(kernels_, scores + i * ld, first, n, temperature_, error_, positions_.data());
      }
    });
  }

  // Leaves the support of query begin + i in `support` (rows of the keys, ascending) and its weights, which sum to 1.
  void finish(int64_t i, std::vector<int64_t>& support, std::vector<double>& weights) {
    SparsemaxCandidates<T>& row = rows_[static_cast<size_t>(i)];
    row.prune(temperature_, error_);
    support.clear();
    final_scores(begin_ + i, row, weights);
    if (weights.empty()) {
      return;
    }
    const double tau = sparsemax_threshold(weights, temperature_);
    row.keep_above(tau, weights);
    double sum = 0;
    for (double& weight : weights) {
      weight -= tau;
      sum += weight;
    }
    for (double& weight : weights) {
      weight /= sum;  // sum is the temperature but for rounding
    }
    for (const int64_t column : row.columns) {
      support.push_back(keys_.valid[static_cast<size_t>(column)]);
    }
  }

 private:
  void final_scores(int64_t query, const SparsemaxCandidates<T>& row, std::vector<double>& scores) {
    scores.assign(row.scores.begin(), row.scores.end());
    if (error_ == 0) {
      return;
    }
    const int64_t depth = keys_.matrix.cols;
    load(queries_, query, query_);
    for (size_t i = 0; i < scores.size(); ++i) {
      load(keys_, row.columns[i], key_);
      scores[i] = kernels_.dot(query_.data(), key_.data(), depth);
    }
  }

  // One row as a float64 unit vector.
  void load(const Directions& side, int64_t index, std::vector<double>& out) {
    const MatrixView& matrix = side.matrix;
    kernels_.widen_f64(matrix.dtype, matrix.row(side.valid[static_cast<size_t>(index)]), matrix.cols, out.data());
    const double scale = side.inverse_norm[static_cast<size_t>(index)];
    for (double& value : out) {
      value *= scale;
    }
  }

  const Kernels& kernels_;
  const Directions& queries_;
  const Directions& keys_;
  const double temperature_;
  const double error_;
  int64_t begin_ = 0;
  TileEngine<T> engine_;
  std::vector<SparsemaxCandidates<T>> rows_;
  std::vector<int32_t> positions_;
  std::vector<double> query_;
  std::vector<double> key_;
};

}  // namespace salt
