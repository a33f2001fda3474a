// The atom that correlates best with each residual of a block, by bounds of the correlations (coarse.h).
//
// Who wins is what TileEngine<float> says, ties to the lower index: a candidate whose float32 score cannot reach that
// of another, by the bounds first and by exact scores next, has lost; where several are left, float32 decides.
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
        engine_(kernels, coarse, kCoarseSlack),
        pairs_(kernels),
        rows_(kQueryBlock),
        cuts_(kQueryBlock),
        crowd_(std::max<size_t>(256, static_cast<size_t>(coarse.size() / 32))) {}

  // best[i] becomes the atom that correlates best with residual i (float64, as it is) among those for which
  // may_choose(i, atom), -1 where none correlates at all, kUndecided where that takes too long to find out here.
  template <class MayChoose>
  void run(const Directions& residuals, MayChoose may_choose, int64_t* best) {
    engine_.pack(residuals, 0, residuals.size());
    for (Row& row : rows_) {
      row.candidates.clear();
      row.lower = 0;
      row.rounding = 0;
      row.crowded = false;
    }
    std::fill(cuts_.begin(), cuts_.end(), 0);
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
    double upper;  // of its magnitude
  };

  struct Row {
    std::vector<Candidate> candidates;
    double lower = 0;     // of the highest magnitude that may be chosen
    double rounding = 0;  // what may lie between an exact score and float32's
    bool crowded = false;
  };

  static constexpr size_t kAtATime = 6;
  // Norms above this could overflow float32.
  static constexpr double kLargestNorm = 1e15;

  template <class MayChoose>
  void add(int64_t i, const Tile<int32_t>& tile, int64_t index, MayChoose may_choose) {
    Row& row = rows_[static_cast<size_t>(i)];
    const double scale = engine_.scale(i, index);
    const double error = engine_.error(i, index);
    const double norm = keys_.range(index).norm;
    const double depth = static_cast<double>(atoms_.matrix.cols);
    // The second term is for what underflows.
    row.rounding = std::max(row.rounding,
                            float_slack(atoms_.matrix.cols) * engine_.norm(i) * norm + depth * (1 + norm) * 0x1p-149);
    tile.for_each_marked(i, [&](int64_t place, int32_t product) {
      const double magnitude = std::abs(static_cast<double>(product)) * scale;
      const int64_t atom = keys_.key(place);
      if (magnitude + error >= row.lower && may_choose(i, atom)) {
        row.lower = std::max(row.lower, magnitude - error);
        row.candidates.push_back({atom, magnitude + error});
      }
    });
    row.crowded =
        row.crowded || row.candidates.size() > crowd_ || norm > kLargestNorm || engine_.norm(i) > kLargestNorm;
    cuts_[static_cast<size_t>(i)] = row.crowded ? std::numeric_limits<double>::infinity() : row.lower;
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
    double reached = 0;  // by the float32 score of some candidate
    left_.clear();
    while (!heap.empty() && heap.front().upper + row.rounding >= reached) {
      const size_t first = left_.size();
      for (size_t n = 0; n < kAtATime && !heap.empty(); ++n) {
        std::pop_heap(heap.begin(), heap.end(), lower);
        left_.push_back(heap.back());
        heap.pop_back();
        atoms_.prefetch(left_.back().atom);
      }
      for (size_t j = first; j < left_.size(); ++j) {
        left_[j].upper = magnitude(residuals, i, left_[j].atom);
        reached = std::max(reached, left_[j].upper - row.rounding);
      }
    }
    columns_.clear();
    for (const Candidate& candidate : left_) {
      if (candidate.upper + row.rounding >= reached) {
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
  std::vector<Candidate> left_;
  std::vector<int64_t> columns_;
  std::vector<float> scores_;
};

}  // namespace salt
