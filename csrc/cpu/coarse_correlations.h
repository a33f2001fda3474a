// The atom that correlates best with each residual of a block, by bounds of the correlations (coarse.h).
//
// Who wins is what TileEngine<float> says, ties to the lower index. So it is float32's scores that are bounded: first
// by eight bits, then, for what may still win, by exact scores, which float32's are close to. Where several atoms are
// left, float32 decides.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "coarse.h"
#include "pair_scores.h"

namespace salt {

// One per thread.
class CoarseCorrelations {
 public:
  static constexpr int64_t kUndecided = -2;

  CoarseCorrelations(const Kernels& kernels, const Directions& atoms, const CoarseKeys& coarse)
      : kernels_(kernels),
        atoms_(atoms),
        keys_(coarse),
        engine_(kernels, coarse, float_slack(atoms.matrix.cols)),
        pairs_(kernels),
        rows_(kQueryBlock),
        cuts_(kQueryBlock),
        crowd_(std::max<size_t>(256, static_cast<size_t>(coarse.size() / 32))),
        largest_norm_(coarse.largest_norm()),
        underflow_(static_cast<double>(atoms.matrix.cols) * (1 + largest_norm_) * 0x1p-149) {}

  // best[i] becomes the atom that correlates best with residual i (float64, as it is) among those for which
  // may_choose(i, atom), -1 where none correlates at all, kUndecided where that takes too long to find out here.
  template <class MayChoose>
  void run(const Directions& residuals, MayChoose may_choose, int64_t* best) {
    engine_.pack(residuals, 0, residuals.size());
    for (int64_t i = 0; i < residuals.size(); ++i) {
      Row& row = rows_[static_cast<size_t>(i)];
      row.candidates.clear();
      row.lower = 0;
      row.crowded = engine_.norm(i) * largest_norm_ > kLargestProduct;
      cuts_[static_cast<size_t>(i)] = row.crowded ? std::numeric_limits<double>::infinity() : -underflow_;
    }
    engine_.run(cuts_.data(), true, [&](const Tile<int32_t>& tile, int64_t index) {
      for (int64_t i = 0; i < residuals.size(); ++i) {
        if (tile.any_marked(i)) {
          add(i, tile, index, may_choose);
        }
      }
    });
    for (int64_t i = 0; i < residuals.size(); ++i) {
      best[i] = decide(residuals, i);
    }
  }

 private:
  struct Candidate {
    int64_t atom;
    double upper;  // of its float32 score's magnitude
  };

  struct Row {
    std::vector<Candidate> candidates;
    double lower = 0;  // of the highest magnitude that may be chosen
    bool crowded = false;
  };

  static constexpr size_t kAtATime = 6;
  static constexpr double kLargestProduct = 1e30;  // of norms: above it float32 could overflow

  template <class MayChoose>
  void add(int64_t i, const Tile<int32_t>& tile, int64_t index, MayChoose may_choose) {
    Row& row = rows_[static_cast<size_t>(i)];
    const double scale = engine_.scale(i, index);
    const double error = engine_.error(i, index) + underflow_;
    tile.for_each_marked(i, [&](int64_t place, int32_t product) {
      const double magnitude = std::abs(static_cast<double>(product)) * scale;
      const int64_t atom = keys_.key(place);
      if (magnitude + error >= row.lower && may_choose(i, atom)) {
        row.lower = std::max(row.lower, magnitude - error);
        row.candidates.push_back({atom, magnitude + error});
      }
    });
    row.crowded = row.candidates.size() > crowd_;
    cuts_[static_cast<size_t>(i)] = row.crowded ? std::numeric_limits<double>::infinity() : row.lower - underflow_;
  }

  int64_t decide(const Directions& residuals, int64_t i) {
    Row& row = rows_[static_cast<size_t>(i)];
    if (row.crowded) {
      return kUndecided;
    }
    // A heap, and a few at a time: most candidates are never looked at, and the memory is asked for several at once.
    std::vector<Candidate>& heap = row.candidates;
    heap.erase(std::remove_if(heap.begin(), heap.end(), [&row](const Candidate& c) { return c.upper < row.lower; }),
               heap.end());
    const auto lower = [](const Candidate& a, const Candidate& b) { return a.upper < b.upper; };
    std::make_heap(heap.begin(), heap.end(), lower);
    // What may lie between an exact score and float32's.
    const double rounding = float_slack(atoms_.matrix.cols) * engine_.norm(i) * largest_norm_ + underflow_;
    double reached = 0;  // by the float32 score of some candidate
    left_.clear();
    while (!heap.empty() && heap.front().upper >= reached) {
      const size_t first = left_.size();
      for (size_t n = 0; n < kAtATime && !heap.empty(); ++n) {
        std::pop_heap(heap.begin(), heap.end(), lower);
        left_.push_back(heap.back());
        heap.pop_back();
        atoms_.prefetch(left_.back().atom);
      }
      for (size_t j = first; j < left_.size(); ++j) {
        const double score = magnitude(residuals, i, left_[j].atom);
        left_[j].upper = score + rounding;
        reached = std::max(reached, score - rounding);
      }
    }
    columns_.clear();
    for (const Candidate& candidate : left_) {
      if (candidate.upper >= reached) {
        columns_.push_back(candidate.atom);
      }
    }
    return columns_.size() == 1 && reached > 0 ? columns_.front() : best_by_float(residuals, i);
  }

  int64_t best_by_float(const Directions& residuals, int64_t i) {
    std::sort(columns_.begin(), columns_.end());
    pairs_.run(residuals, i, atoms_, columns_, scores_);
    int64_t best = -1;
    float highest = 0;
    for (size_t j = 0; j < columns_.size(); ++j) {
      if (std::abs(scores_[j]) > highest) {
        highest = std::abs(scores_[j]);
        best = columns_[j];
      }
    }
    return best;
  }

  double magnitude(const Directions& residuals, int64_t i, int64_t atom) const {
    const MatrixView& table = atoms_.matrix;
    const double* residual = static_cast<const double*>(residuals.matrix.row(i));
    return std::abs(kernels_.row_dot(table.dtype, table.row(atom), residual, table.cols));
  }

  const Kernels& kernels_;
  const Directions& atoms_;
  const CoarseKeys& keys_;
  CoarseEngine engine_;
  PairScores pairs_;
  std::vector<Row> rows_;
  std::vector<double> cuts_;  // what an upper bound must reach, per residual
  const size_t crowd_;        // more candidates than this cost more than they save
  const double largest_norm_;
  const double underflow_;  // what float32 may lose of a score at the lower end of its range
  std::vector<Candidate> left_;
  std::vector<int64_t> columns_;
  std::vector<float> scores_;
};

}  // namespace salt
