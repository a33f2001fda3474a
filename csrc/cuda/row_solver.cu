#include "kernels/row_solve.cuh"
#include "kernels/row_svd.cuh"
#include "row_solver.h"
#include "runtime/launch.h"

namespace salt::cuda {
namespace {

// Blocks under way at once are limited by what they work with in device memory.
constexpr int64_t kWorkspaceBytes = int64_t{256} << 20;

constexpr int64_t kBytes = static_cast<int64_t>(sizeof(double));

int64_t blocks_within_workspace(int64_t blocks, int64_t doubles_per_block) {
  return std::clamp<int64_t>(kWorkspaceBytes / kBytes / std::max<int64_t>(1, doubles_per_block), 1,
                             std::max<int64_t>(1, blocks));
}

// By tiles along the Gram matrix: a warp for one or two tiles of its lower triangle, and blocks per multiprocessor,
// several times as many as find room at once, so that long and short rows even out.
struct Shape {
  int warps;
  int blocks;
};
constexpr Shape kShapes[kSizes] = {{1, 48}, {3, 16}, {3, 12}, {5, 8}, {8, 1}};

class Solver {
 public:
  Solver(const Context& context, const CsrView& csr, int64_t longest, const MatrixView& queries,
         const MatrixView& anchors, const LstsqOptions& options, double* weights)
      : context_(context),
        longest_(longest),
        unknowns_(std::min(longest, anchors.cols)),
        tiles_(std::max<int64_t>(1, blocks_for(unknowns_, kTile))),
        rows_(context.allocate<int64_t>((kLists + 1) * csr.rows)),
        counts_(context.allocate_zeros<unsigned long long>(kLists + 1)) {
    task_.csr = csr;
    task_.queries = queries;
    task_.anchors = anchors;
    task_.intercept = options.intercept;
    task_.ridge = options.ridge;
    task_.rcond = options.rcond;
    task_.weights = weights;
    const int64_t load = std::min<int64_t>(16, 4 * element_size(anchors.dtype));
    task_.vectorised = queries.rows_begin_on(load) && anchors.rows_begin_on(load);
    const int64_t larger = std::max(longest, anchors.cols);
    const bool needs_image = anchors.dtype == DType::kFloat64 || longest > anchors.cols;
    task_.scratch_stride = (options.intercept ? anchors.cols : 0) + (needs_image ? larger : 0);
    most_blocks_ = blocks_within_workspace(kShapes[0].blocks * context.multiprocessors(), task_.scratch_stride);
    scratch_ = context.allocate<double>(most_blocks_ * task_.scratch_stride);
    task_.scratch = scratch_.data();
  }

  void prepare(const double* sample_weights) {
    task_.weighted = sample_weights != nullptr;
    launch(context_, prepare_rows, {blocks_for(task_.csr.rows, kPrepareThreads / kWarpSize), kPrepareThreads}, task_,
           sample_weights, rows_.data(), counts_.data());
  }

  template <class Element>
  void solve() {
    solve_list<Element, SystemKind::kOneTile, true>(1);
    for (int64_t tiles = 2; tiles <= std::min<int64_t>(tiles_, kMaxSharedTiles); ++tiles) {
      solve_list<Element, SystemKind::kShared, true>(tiles);
    }
    if (tiles_ > kMaxSharedTiles) {
      solve_list<Element, SystemKind::kGlobal, true>(tiles_);
    }
    if (longest_ > task_.anchors.cols) {
      for (int64_t tiles = 1; tiles <= std::min<int64_t>(tiles_, kMaxSharedTiles); ++tiles) {
        solve_list<Element, SystemKind::kShared, false>(tiles);
      }
      if (tiles_ > kMaxSharedTiles) {
        solve_list<Element, SystemKind::kGlobal, false>(tiles_);
      }
    }
    solve_failed<Element>();
  }

 private:
  RowList list(int64_t number) const { return {rows_.data() + number * task_.csr.rows, counts_.data() + number}; }
  RowList failed() const { return list(kLists); }

  int64_t grid(int64_t blocks_per_multiprocessor) const {
    return std::min({most_blocks_, task_.csr.rows, blocks_per_multiprocessor * context_.multiprocessors()});
  }

  template <class Element, SystemKind kind, bool kByAnchors>
  void solve_list(int64_t tiles) {
    const int64_t size = std::min<int64_t>(tiles, kSizes) - 1;
    const Shape& shape = kShapes[size];
    int64_t blocks = grid(shape.blocks);
    int64_t shared_doubles = kReserveDoubles;
    Buffer<double> systems;
    if constexpr (kind == SystemKind::kGlobal) {
      blocks = blocks_within_workspace(blocks, system_doubles(tiles));
      systems = context_.allocate<double>(blocks * system_doubles(tiles));
    } else {
      shared_doubles += system_doubles(tiles);
    }
    launch(context_, solve_rows_of_list<Element, kind, kByAnchors>,
           {blocks, shape.warps * kWarpSize, static_cast<size_t>(shared_doubles * kBytes)}, task_,
           list(kByAnchors ? size : kSizes + size), systems.data(), system_doubles(tiles), failed());
  }

  template <class Element>
  void solve_failed() {
    const int64_t n = unknowns_;
    const int64_t doubles = svd_doubles(n, std::max(longest_, task_.anchors.cols));
    const int64_t limit = context_.shared_memory_limit();
    int64_t shared_bytes = (kWarpSize + svd_square_doubles(n)) * kBytes;
    const bool in_shared = shared_bytes <= limit;
    const int64_t blocks = blocks_within_workspace(grid(2), doubles + (in_shared ? 0 : svd_square_doubles(n)));
    const Buffer<double> vectors = context_.allocate<double>(blocks * doubles);
    Buffer<double> squares;
    if (!in_shared) {
      squares = context_.allocate<double>(blocks * svd_square_doubles(n));
      shared_bytes = kWarpSize * kBytes;
    }
    launch(context_, solve_list_by_svd<Element>, {blocks, kSvdThreads, static_cast<size_t>(shared_bytes)}, task_,
           failed(), vectors.data(), doubles, squares.data(), svd_square_doubles(n));
  }

  const Context& context_;
  int64_t longest_;
  int64_t unknowns_;  // at most, of a row
  int64_t tiles_;     // along the largest Gram matrix
  Buffer<int64_t> rows_;
  Buffer<unsigned long long> counts_;
  Buffer<double> scratch_;
  int64_t most_blocks_ = 0;
  RowTask task_;
};

}  // namespace

void solve_rows(const Context& context, const CsrView& csr, int64_t longest, const MatrixView& queries,
                const MatrixView& anchors, const double* sample_weights, const LstsqOptions& options, double* weights) {
  if (csr.rows == 0 || csr.nnz == 0) {
    return;
  }
  Solver solver(context, csr, longest, queries, anchors, options, weights);
  solver.prepare(sample_weights);
  with_element(anchors.dtype, [&]<class Element>() { solver.solve<Element>(); });
}

}  // namespace salt::cuda
