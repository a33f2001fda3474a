// Sparsemax of rows of cosines that arrive tile by tile (Martins & Astudillo 2016), exact for the inputs as given.
//
// sparsemax(s / T) keeps the scores above the threshold tau that solves sum(max(0, s - tau)) = T, with weights
// (s - tau) / T. The tau of a subset never exceeds the tau of the whole, so tau of what has been seen prunes exactly:
// a score at or below it can be dropped for good.
//
// Which anchors support a token must not hang on rounding: the regression that follows jumps where a key comes or goes.
// So float32 scores only pre-select. A computed score and the tau of computed scores are each within `score_error` of
// the exact ones, hence whatever lies more than twice that below tau is out; the few survivors are scored again in
// float64. Where the CPU multiplies bytes, bounds of the scores pre-select instead (coarse_candidates.h), and float32
// only where they are too wide. Both let everything above tau - kSame through, so the result does not tell them apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "coarse_candidates.h"
#include "sparsemax_threshold.h"
#include "tiles.h"

namespace salt {

// How far below tau a key is let through although it cannot matter.
constexpr double kSame = 0x1p-26;

// Bound on the error of a computed cosine: `depth` roundings of sums whose terms' magnitudes add up to at most 1
// (Cauchy and Schwarz), and four of the scaling to unit length. 0 for float64, whose scores are final.
template <class T>
double score_error(int64_t depth) {
  return sizeof(T) == 8 ? 0 : static_cast<double>(depth + 4) * 0x1p-24;
}

// The keys that may still belong to the support of one query.
template <class T>
class SparsemaxCandidates {
 public:
  void reset() {
    columns.clear();
    scores.clear();
    tau_ = -std::numeric_limits<double>::infinity();
    prune_at_ = kFirstPrune;
  }

  // Columns must come in ascending order.
  void add(int64_t column, T score) {
    columns.push_back(column);
    scores.push_back(score);
  }

  bool wants_pruning() const { return columns.size() >= prune_at_; }

  // Drops what cannot belong to the support any more; returns the cut that later scores must exceed.
  T prune(const Kernels& kernels, double temperature, double error) {
    tau_ = sparsemax_threshold(kernels, scores.data(), scores.size(), temperature, tau_);
    const double floor = tau_ - 2 * error;
    keep_above(floor, scores);
    prune_at_ = std::max(kFirstPrune, 2 * columns.size());
    // Rounded down, so that a score between the floor and its nearest T is still looked at.
    const T rounded = static_cast<T>(floor);
    return static_cast<double>(rounded) > floor ? std::nextafter(rounded, -std::numeric_limits<T>::infinity())
                                                : rounded;
  }

  // Drops the columns whose entry in `by` is not above `floor`, and these entries.
  template <class Score>
  void keep_above(double floor, std::vector<Score>& by) {
    size_t kept = 0;
    for (size_t i = 0; i < by.size(); ++i) {
      by[kept] = by[i];  // no branch: which of them stay is hard to predict
      columns[kept] = columns[i];
      kept += static_cast<double>(by[i]) > floor;
    }
    by.resize(kept);
    columns.resize(kept);
  }

  std::vector<int64_t> columns;  // among the valid keys, ascending
  std::vector<T> scores;
  std::vector<double> exact;  // the scores again in float64, once the last tile has gone by

 private:
  static constexpr size_t kFirstPrune = 64;

  double tau_ = -std::numeric_limits<double>::infinity();
  size_t prune_at_ = kFirstPrune;
};

// The supports of one block of queries: what cosine_sparsemax and transfer share. One per thread.
template <class T>
class SparsemaxBlock {
 public:
  // `coarse` are the keys in eight bits, or null.
  SparsemaxBlock(const Kernels& kernels, const Directions& queries, const Directions& keys, const CoarseKeys* coarse,
                 double temperature)
      : kernels_(kernels),
        queries_(queries),
        keys_(keys),
        temperature_(temperature),
        error_(score_error<T>(keys.matrix.cols)),
        engine_(kernels),
        rows_(kQueryBlock),
        cuts_(kQueryBlock) {
    if (coarse != nullptr) {
      coarse_.emplace(kernels, *coarse, kSame + kCoarseSlack, SparsemaxCut(kernels, temperature), CrowdLimit{0, true});
    }
  }

  // Pre-selects for the valid queries begin .. begin + count - 1; then finish(0) .. finish(count - 1).
  void run(int64_t begin, int64_t count) {
    for (auto& row : rows_) {
      row.reset();
    }
    left_.clear();
    if (coarse_) {
      coarse_->run(queries_, begin, count);
    }
    for (int64_t i = 0; i < count; ++i) {
      if (coarse_ && !coarse_->gave_up(i)) {
        coarse_->survivors(i, rows_[static_cast<size_t>(i)].columns);
      } else {
        left_.push_back(i);
      }
    }
    preselect(begin);
    score_exactly(begin, count);
    if (coarse_ && 2 * static_cast<int64_t>(left_.size()) > count) {
      coarse_.reset();  // such queries will follow
    }
  }

  // Leaves the support of query begin + i in `support` (rows of the keys, ascending) and its weights, which sum to 1.
  // Once per row.
  void finish(int64_t i, std::vector<int64_t>& support, std::vector<double>& weights) {
    SparsemaxCandidates<T>& row = rows_[static_cast<size_t>(i)];
    support.clear();
    weights.clear();
    if (row.exact.empty()) {
      return;
    }
    weights.swap(row.exact);
    // With fewer scores the additions round otherwise: what can matter first, the same whoever pre-selected.
    row.keep_above(sparsemax_threshold(kernels_, weights.data(), weights.size(), temperature_) - kSame / 2, weights);
    const double tau = sparsemax_threshold(kernels_, weights.data(), weights.size(), temperature_);
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
  // The candidates of the queries begin + left_[.] by float32 or float64 scores.
  void preselect(int64_t begin) {
    if (left_.empty()) {
      return;
    }
    const Directions part = queries_.subset(begin, left_);
    std::fill(cuts_.begin(), cuts_.end(), -std::numeric_limits<T>::infinity());
    const double error = error_ == 0 ? 0 : error_ + kSame / 2;
    engine_.run(part, 0, part.size(), keys_, cuts_.data(), false, [&](const Tile<T>& tile) {
      for (int64_t slot = 0; slot < part.size(); ++slot) {
        if (!tile.any_marked(slot)) {
          continue;
        }
        SparsemaxCandidates<T>& row = rows_[static_cast<size_t>(left_[static_cast<size_t>(slot)])];
        tile.for_each_marked(slot, [&row](int64_t column, T score) { row.add(column, score); });
        if (row.wants_pruning()) {
          cuts_[static_cast<size_t>(slot)] = row.prune(kernels_, temperature_, error);
        }
      }
    });
    for (const int64_t i : left_) {
      SparsemaxCandidates<T>& row = rows_[static_cast<size_t>(i)];
      if (!row.scores.empty()) {
        row.prune(kernels_, temperature_, error);
      }
    }
  }

  struct Survivor {
    uint32_t key;
    uint32_t row;   // of the block
    uint32_t slot;  // among the row's candidates
  };

  static constexpr size_t kAhead = 4;  // survivors

  // The survivors of all rows at once, in the order of the keys: every key is fetched once and in sequence, where row
  // after row would fetch it from anywhere, again and again.
  void score_exactly(int64_t begin, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      SparsemaxCandidates<T>& row = rows_[static_cast<size_t>(i)];
      row.exact.assign(row.scores.begin(), row.scores.end());
      row.exact.resize(row.columns.size());
    }
    if (error_ == 0) {
      return;
    }
    sort_by_key(count);
    for (size_t i = 0; i < survivors_.size(); ++i) {
      if (i + kAhead < survivors_.size() && survivors_[i + kAhead].key != survivors_[i + kAhead - 1].key) {
        keys_.prefetch(survivors_[i + kAhead].key);
      }
      const Survivor& survivor = survivors_[i];
      rows_[survivor.row].exact[survivor.slot] = exact_score(begin + survivor.row, survivor.key);
    }
  }

  // Fills survivors_, in the order of the keys. A counting sort.
  void sort_by_key(int64_t count) {
    ends_.assign(static_cast<size_t>(keys_.size()), 0);
    size_t total = 0;
    for (int64_t i = 0; i < count; ++i) {
      for (const int64_t column : rows_[static_cast<size_t>(i)].columns) {
        ++ends_[static_cast<size_t>(column)];
        ++total;
      }
    }
    survivors_.resize(total);
    size_t before = 0;
    for (size_t& end : ends_) {
      before += std::exchange(end, before);
    }
    for (int64_t i = 0; i < count; ++i) {
      const std::vector<int64_t>& columns = rows_[static_cast<size_t>(i)].columns;
      for (size_t slot = 0; slot < columns.size(); ++slot) {
        const size_t key = static_cast<size_t>(columns[slot]);
        survivors_[ends_[key]++] = {static_cast<uint32_t>(key), static_cast<uint32_t>(i), static_cast<uint32_t>(slot)};
      }
    }
  }

  double exact_score(int64_t query, int64_t key) const {
    const MatrixView& q = queries_.matrix;
    const MatrixView& k = keys_.matrix;
    const size_t i = static_cast<size_t>(query);
    const size_t j = static_cast<size_t>(key);
    return kernels_.wide_dot(q.dtype, q.row(queries_.valid[i]), k.row(keys_.valid[j]), q.cols) *
           queries_.inverse_norm[i] * keys_.inverse_norm[j];
  }

  const Kernels& kernels_;
  const Directions& queries_;
  const Directions& keys_;
  const double temperature_;
  const double error_;
  std::optional<CoarseCandidates<SparsemaxCut>> coarse_;
  TileEngine<T> engine_;
  std::vector<SparsemaxCandidates<T>> rows_;
  std::vector<int64_t> left_;  // the rows without bounds
  std::vector<T> cuts_;        // what a score must exceed, by place in left_
  std::vector<Survivor> survivors_;
  std::vector<size_t> ends_;
};

}  // namespace salt
