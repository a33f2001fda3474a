// omp on CUDA. Each step correlates the residuals of a block of queries with all atoms on float16 tensor cores, tile by
// tile; the few atoms that the error of that leaves in question are scored in float64, so the choice is that of
// float64.
//
// Floor, for the queries Q, the atoms K and k steps: 2 Q K D k operations on tensor cores (20k x 30k x 768, k = 64: 59
// TFLOP), and Q k^2 D elements of chosen atoms (twice each step; 250 GB in float32, partly from L2). No step can be
// left out: what a pass says about a residual bounds the next one's correlations too loosely (by Cauchy and Schwarz, no
// tighter than the largest correlation itself), and Gram updates read k rows of K numbers for each query and step.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../ops/omp.h"
#include "kernels/pursuit_select.cuh"
#include "kernels/pursuit_step.cuh"
#include "runtime/launch.h"
#include "scores.h"

namespace salt::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kListThreads = 1024;
constexpr int64_t kMostQueries = 4096;      // of a block
constexpr int64_t kStateBytes = 512 << 20;  // what a block of queries may keep
constexpr int64_t kTileScores = 16 << 20;   // 32 MB: a tile is read from L2
constexpr int64_t kMostTileAtoms = 16384;
constexpr int64_t kMostChosen = 12288;  // what shared memory holds: 16 bytes per atom
constexpr int kStepsBetweenLooks = 8;

// One block: the largest norm.
__global__ void __launch_bounds__(kListThreads) find_largest(const double* norms, int64_t count, double* largest) {
  double most = 0;
  for (int64_t i = threadIdx.x; i < count; i += kListThreads) {
    most = fmax(most, norms[i]);
  }
  most = block_reduce(most, Max{}, 0.0, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) {
    *largest = most;
  }
}

// Norms relative to the largest; 0 only for atoms that are zero, and beyond the last.
__global__ void __launch_bounds__(kThreads)
    relative_norms(const double* norms, int64_t count, const double* largest, float* scale, int64_t padded) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < padded) {
    const double norm = i < count ? norms[i] : 0;
    scale[i] = norm > 0 ? fmaxf(static_cast<float>(norm / *largest), kSmallestScale) : 0.0f;
  }
}

// One block per query: the residual is the query.
template <class Element>
__global__ void __launch_bounds__(kThreads) start_pursuits(Pursuits p, double tolerance) {
  const int64_t query = blockIdx.x;
  const Element* given = static_cast<const Element*>(p.queries.row(query));
  double squared = 0;
  for (int64_t d = threadIdx.x; d < p.width; d += kThreads) {
    const double value = d < p.queries.cols ? to_double(given[d]) : 0.0;
    p.residual(query)[d] = value;
    squared = fma(value, value, squared);
  }
  squared = block_reduce(squared, Sum{}, 0.0, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) {
    PursuitState state;
    state.norm = sqrt(squared);
    state.stop = fmax(tolerance, kExactFit) * state.norm;
    state.done = state.norm <= state.stop;
    p.states[query] = state;
  }
}

// One block: the queries that are not done, ascending, and how many.
__global__ void __launch_bounds__(kListThreads) list_open(Pursuits p, int* count) {
  int before = 0;
  for (int64_t begin = 0; begin < p.queries.rows; begin += kListThreads) {
    const int64_t query = begin + threadIdx.x;
    const bool open = query < p.queries.rows && !p.states[query].done;
    int found = 0;
    const int place =
        before + block_exclusive_scan(static_cast<int>(open), reinterpret_cast<int*>(shared_memory()), found);
    if (open) {
      p.open[place] = query;
    }
    before += found;
  }
  if (threadIdx.x == 0) {
    *count = before;
  }
}

// One block per slot.
__global__ void __launch_bounds__(kThreads) fill_slots(Pursuits p) {
  const int64_t query = p.open[blockIdx.x];
  write_unit(p, blockIdx.x, query, p.states[query].norm);
}

// The work space of a block of queries, and the steps of all its pursuits.
class PursuitBlock {
 public:
  PursuitBlock(const Context& context, const MatrixView& queries, const UnitRows& atoms, int64_t k)
      : context_(context), atoms_(atoms), limit_(std::min({k, atoms.matrix.rows, atoms.matrix.cols})) {
    SALT_CHECK(limit_ <= kMostChosen, "k: found ", k, ", expected at most ", kMostChosen,
               " on CUDA, or fewer atoms or columns");
    const int64_t count = atoms.matrix.rows;
    shared_.words = (count + 31) / 32;
    shared_.width = atoms.width;
    const int64_t factor = packed_row(limit_);
    const int64_t bytes = atoms.width * 10 + (factor + limit_) * 8 + shared_.words * 4 + kCandidates * 16 + 128;
    const int64_t most = std::clamp<int64_t>(kStateBytes / bytes, 1, kMostQueries);
    // Blocks alike, so that the last one fills the machine as well.
    const int64_t blocks = (queries.rows + most - 1) / most;
    size_ = (queries.rows + blocks - 1) / blocks;
    tile_ = context.allocate<__half>(
        std::min({kTileScores, size_ * kMostTileAtoms, size_ * round_up(count, kScoresPerLoad)}));
    scale_ = context.allocate<float>(round_up(count, kScoresPerLoad));
    largest_ = context.allocate<double>(1);
    count_ = context.allocate<int>(1);
    states_ = context.allocate<PursuitState>(size_);
    residuals_ = context.allocate<double>(size_ * atoms.width);
    factors_ = context.allocate<double>(size_ * factor);
    forwards_ = context.allocate<double>(size_ * limit_);
    taken_ = context.allocate<unsigned>(size_ * shared_.words);
    candidates_ = context.allocate<Candidate>(size_ * kCandidates);
    open_ = context.allocate<int64_t>(size_);
    unit_ = context.allocate<__half>(size_ * atoms.width);
    launch(context, find_largest, {1, kListThreads, kWarpSize * sizeof(double)}, atoms.norm.data(), count,
           largest_.data());
    launch(context, relative_norms, {blocks_for(scale_.size(), kThreads), kThreads}, atoms.norm.data(), count,
           largest_.data(), scale_.data(), scale_.size());
    shared_.atoms = atoms.matrix;
    shared_.k = k;
    shared_.limit = static_cast<int>(limit_);
    shared_.noise = queries.dtype == DType::kFloat64 ? 1e-12 : 1e-5;
    shared_.largest_norm = largest_.data();
    shared_.states = states_.data();
    shared_.residuals = residuals_.data();
    shared_.factors = factors_.data();
    shared_.forwards = forwards_.data();
    shared_.taken = taken_.data();
    shared_.candidates = candidates_.data();
    shared_.open = open_.data();
    shared_.unit = unit_.data();
  }

  int64_t size() const { return size_; }

  // `indices` and `weights` are the rows of these queries, filled with -1 and 0.
  template <class Element, bool kAligned>
  void run(const MatrixView& queries, double tolerance, int64_t* indices, Element* weights) {
    shared_.queries = queries;
    shared_.indices = indices;
    shared_.weights = weights;
    context_.fill(taken_.data(), 0, taken_.size_in_bytes());
    launch(context_, start_pursuits<Element>, {queries.rows, kThreads, kWarpSize * sizeof(double)}, shared_, tolerance);
    // A step that takes an atom for each query, `limit_` times, is all that most need. The host looks now and then how
    // many are still open, to leave out those that are done: each look costs the time of a few launches.
    int slots = 0;
    for (int64_t step = 0;; ++step) {
      if (step % kStepsBetweenLooks == 0 || step >= limit_) {
        launch(context_, list_open, {1, kListThreads, kWarpSize * sizeof(int)}, shared_, count_.data());
        const int open = context_.read(count_.data());
        if (open == 0) {
          return;
        }
        if (open != slots) {
          slots = open;
          launch(context_, fill_slots, {slots, kThreads}, shared_);
        }
      }
      pass<Element, kAligned>(slots);
      launch(context_, advance_pursuits<Element, kAligned>, {slots, kStepThreads, StepMemory::bytes(limit_)}, shared_);
    }
  }

 private:
  // Leaves with each open query the candidates among all atoms.
  template <class Element, bool kAligned>
  void pass(int64_t slots) {
    const int64_t count = atoms_.matrix.rows;
    const int64_t wide = std::min(kMostTileAtoms, kTileScores / slots / kScoresPerLoad * kScoresPerLoad);
    const int64_t stride = std::min(wide, round_up(count, kScoresPerLoad));
    // A hair more, so that rounding to float32 does not lessen it.
    const float error = static_cast<float>(score_error(atoms_.matrix.cols) * (1 + 0x1p-20));
    for (int64_t first = 0; first < count; first += stride) {
      const int64_t here = std::min(stride, count - first);
      // The search loads whole groups of scores: those behind the last atom are written too, of rows of zeros.
      score_tile(context_, unit_.data(), slots, atoms_.row(first), padded_rows(here), atoms_.width, tile_.data(),
                 stride);
      launch(context_, select_candidates<Element, kAligned>,
             {blocks_for(slots, kSelectThreads / kWarpSize), kSelectThreads}, shared_, slots, tile_.data(), stride,
             first, here, scale_.data(), error);
    }
  }

  const Context& context_;
  const UnitRows& atoms_;
  int64_t limit_;
  int64_t size_ = 0;
  Pursuits shared_{};
  Buffer<__half> tile_;
  Buffer<float> scale_;
  Buffer<double> largest_;
  Buffer<int> count_;
  Buffer<PursuitState> states_;
  Buffer<double> residuals_;
  Buffer<double> factors_;
  Buffer<double> forwards_;
  Buffer<unsigned> taken_;
  Buffer<Candidate> candidates_;
  Buffer<int64_t> open_;
  Buffer<__half> unit_;
};

std::tuple<Tensor, Tensor> omp(const Tensor& queries, const Tensor& atoms, int64_t k, double tolerance) {
  validate_omp(queries, atoms, k, tolerance);
  const Context context(queries);
  const Tensor query_rows = with_dense_rows(queries);
  const Tensor atom_rows = with_dense_rows(atoms);
  const MatrixView view = view_of(query_rows, "queries");
  check_finite(context, view, "queries");
  const UnitRows atom_side = unit_rows(context, view_of(atom_rows, "atoms"), "atoms");
  Tensor indices = new_indices(queries, {queries.size(0), k});
  Tensor weights = torch::stable::new_zeros(queries, {queries.size(0), k});
  context.fill(indices.mutable_data_ptr(), 0xff, static_cast<size_t>(indices.numel()) * sizeof(int64_t));
  if (view.rows == 0 || view.cols == 0 || atom_side.matrix.rows == 0) {
    return {indices, weights};
  }
  PursuitBlock block(context, view, atom_side, k);
  const bool aligned = view.rows_begin_on(16) && atom_side.matrix.rows_begin_on(16);
  with_element(view.dtype, [&]<class Element>() {
    for (int64_t begin = 0; begin < view.rows; begin += block.size()) {
      const MatrixView here = view.slice(begin, std::min(block.size(), view.rows - begin));
      int64_t* chosen = indices_data(indices) + begin * k;
      Element* their_weights = static_cast<Element*>(weights.mutable_data_ptr()) + begin * k;
      if (aligned) {
        block.run<Element, true>(here, tolerance, chosen, their_weights);
      } else {
        block.run<Element, false>(here, tolerance, chosen, their_weights);
      }
    }
  });
  return {indices, weights};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, m) { m.impl("omp", TORCH_BOX(&omp)); }

}  // namespace salt::cuda
