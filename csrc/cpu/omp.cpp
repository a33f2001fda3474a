#include "../ops/omp.h"

#include <torch/csrc/stable/library.h>

#include <array>
#include <optional>
#include <tuple>

#include "coarse_correlations.h"
#include "directions.h"
#include "parallel.h"
#include "pursuit.h"
#include "tiles.h"

namespace salt {
namespace {

// What rounding can make of the correlation of orthogonal unit vectors in each arithmetic.
template <class T>
constexpr double kNoise = std::is_same_v<T, double> ? 1e-12 : 1e-5;

// Works on one block of queries at a time: each pass correlates every residual that is still open with all atoms.
template <class T>
class PursuitBlock {
 public:
  // `coarse` are the atoms in eight bits, or null.
  PursuitBlock(const Kernels& kernels, const Directions& atoms, const CoarseKeys* coarse)
      : kernels_(kernels),
        atoms_(atoms),
        engine_(kernels),
        pursuits_(kQueryBlock),
        best_(kQueryBlock),
        best_score_(kQueryBlock) {
    if (coarse != nullptr) {
      coarse_.emplace(kernels, atoms, *coarse);
    }
  }

  void run(const MatrixView& queries, int64_t begin, int64_t count, int64_t k, double tolerance) {
    for (int64_t i = 0; i < count; ++i) {
      pursuit(i).start(kernels_, queries.row(begin + i), atoms_.matrix, k, tolerance);
    }
    while (gather_open(count) > 0) {
      choose();
      for (size_t slot = 0; slot < open_.size(); ++slot) {
        pursuit(open_[slot]).take(kernels_, atoms_.matrix, best_[slot], kNoise<T>);
      }
    }
  }

  Pursuit& pursuit(int64_t i) { return pursuits_[static_cast<size_t>(i)]; }

 private:
  // Copies the residuals of the unfinished pursuits into one matrix for the engine.
  size_t gather_open(int64_t count) {
    const int64_t width = atoms_.matrix.cols;
    open_.clear();
    residual_data_.resize(static_cast<size_t>(kQueryBlock * width));
    for (int64_t i = 0; i < count; ++i) {
      if (!pursuit(i).done()) {
        std::copy(pursuit(i).residual().begin(), pursuit(i).residual().end(),
                  residual_data_.begin() + static_cast<int64_t>(open_.size()) * width);
        open_.push_back(i);
      }
    }
    const int64_t rows = static_cast<int64_t>(open_.size());
    residuals_.matrix = {residual_data_.data(), DType::kFloat64, rows, width, width};
    residuals_.inverse_norm.assign(open_.size(), 1.0);
    residuals_.valid.resize(open_.size());
    for (int64_t i = 0; i < rows; ++i) {
      residuals_.valid[static_cast<size_t>(i)] = i;
    }
    return open_.size();
  }

  // The best atom of every open pursuit.
  void choose() {
    left_.clear();
    if (coarse_) {
      coarse_->run(residuals_, [this](int64_t slot, int64_t atom) { return may_choose(slot, atom); }, best_.data());
    }
    for (int64_t slot = 0; slot < residuals_.size(); ++slot) {
      if (!coarse_ || best_[static_cast<size_t>(slot)] == CoarseCorrelations::kUndecided) {
        left_.push_back(slot);
      }
    }
    if (left_.empty()) {
      return;
    }
    if (coarse_ && 2 * static_cast<int64_t>(left_.size()) > residuals_.size()) {
      coarse_.reset();  // such residuals will follow
    }
    for (const int64_t slot : left_) {
      best_[static_cast<size_t>(slot)] = -1;
    }
    std::fill(best_score_.begin(), best_score_.end(), T{0});
    const Directions part = residuals_.subset(0, left_);
    engine_.run(part, 0, part.size(), atoms_, best_score_.data(), true, [this](const Tile<T>& tile) { look_at(tile); });
  }

  void look_at(const Tile<T>& tile) {
    for (size_t i = 0; i < left_.size(); ++i) {
      const int64_t slot = left_[i];
      tile.for_each_marked(static_cast<int64_t>(i), [&](int64_t atom, T score) {
        if (std::abs(score) > best_score_[i] && may_choose(slot, atom)) {
          best_[static_cast<size_t>(slot)] = atom;
          best_score_[i] = std::abs(score);
        }
      });
    }
  }

  bool may_choose(int64_t slot, int64_t atom) { return pursuit(open_[static_cast<size_t>(slot)]).may_choose(atom); }

  const Kernels& kernels_;
  const Directions& atoms_;
  std::optional<CoarseCorrelations> coarse_;
  TileEngine<T> engine_;
  std::vector<Pursuit> pursuits_;
  std::vector<int64_t> open_;
  std::vector<int64_t> best_;  // the atom of largest |score| for each open query
  std::vector<int64_t> left_;  // open queries that the bounds leave undecided
  std::vector<T> best_score_;  // of each of these, while tiles stream by
  std::vector<double> residual_data_;
  Directions residuals_;
};

template <class T>
void pursue(const MatrixView& queries, const Directions& atoms, int64_t k, double tolerance, int64_t* indices,
            std::byte* weights) {
  const Kernels& kernel = kernels();
  const int threads = threads_for(static_cast<double>(queries.rows * k) * atoms.matrix.rows * queries.cols);
  const std::optional<CoarseKeys> coarse = CoarseKeys::of(kernel, atoms, queries.rows * k, threads);
  const int64_t block_size = coarse ? even_block(queries.rows, threads) : query_block(queries.rows, threads);
  const int64_t blocks = (queries.rows + block_size - 1) / block_size;
  share_tasks(threads, blocks, 1, [&](Tasks& tasks) {
    PursuitBlock<T> block_pursuit(kernel, atoms, coarse ? &*coarse : nullptr);
    tasks.each([&](int64_t block) {
      const int64_t begin = block * block_size;
      const int64_t count = std::min(block_size, queries.rows - begin);
      block_pursuit.run(queries, begin, count, k, tolerance);
      for (int64_t i = 0; i < count; ++i) {
        const Pursuit& done = block_pursuit.pursuit(i);
        std::copy(done.chosen().begin(), done.chosen().end(), indices + (begin + i) * k);
        kernel.narrow_f64(queries.dtype, done.weights().data(), static_cast<int64_t>(done.weights().size()),
                          weights + (begin + i) * k * element_size(queries.dtype));
      }
    });
  });
}

}  // namespace

std::tuple<Tensor, Tensor> omp_cpu(const Tensor& queries, const Tensor& atoms, int64_t k, double tolerance) {
  validate_omp(queries, atoms, k, tolerance);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor atom_rows = with_dense_rows(atoms);
  const MatrixView query_view = view_of(query_rows, "queries");
  check_finite(query_view, "queries");
  const Directions atom_side = raw_directions(view_of(atom_rows, "atoms"), "atoms");
  Tensor indices = new_indices(queries, {queries.size(0), k});
  const std::array<int64_t, 2> shape{queries.size(0), k};
  Tensor weights = allocated(queries, [&] { return torch::stable::new_zeros(queries, shape); });
  int64_t* index_data = indices_data(indices);
  std::fill(index_data, index_data + indices.numel(), -1);
  std::byte* weight_data = static_cast<std::byte*>(weights.mutable_data_ptr());
  if (query_view.dtype == DType::kFloat64) {
    pursue<double>(query_view, atom_side, k, tolerance, index_data, weight_data);
  } else {
    pursue<float>(query_view, atom_side, k, tolerance, index_data, weight_data);
  }
  return {indices, weights};
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("omp", TORCH_BOX(&omp_cpu)); }

}  // namespace salt
