#include "coarse.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "parallel.h"

namespace salt {
namespace {

constexpr int64_t kStep = 4;          // elements that one multiply-add takes
constexpr int64_t kAhead = 4;         // rows
constexpr double kLargestByte = 127;  // in magnitude

int64_t rounded_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// The row in eight bits, its elements times factor, in `out`, which has room for a multiple of 8; its range.
CoarseRange quantised(const Kernels& kernels, const Directions& side, int64_t index, double scale, int8_t* out) {
  const MatrixView& matrix = side.matrix;
  const void* row = matrix.row(side.valid[static_cast<size_t>(index)]);
  const double unit = side.inverse_norm[static_cast<size_t>(index)];
  const double lost = kernels.quantise(matrix.dtype, row, matrix.cols, unit / scale, out);
  const double norm = std::sqrt(kernels.wide_dot(matrix.dtype, row, row, matrix.cols)) * unit;
  return {scale, std::sqrt(lost) * scale, norm};
}

double largest_element(const Kernels& kernels, const Directions& side, int64_t index) {
  const size_t i = static_cast<size_t>(index);
  return kernels.largest(side.matrix.dtype, side.matrix.row(side.valid[i]), side.matrix.cols) * side.inverse_norm[i];
}

// The scale that brings `largest` to 127; any will do for a row of zeros.
double scale_for(double largest) { return largest > 0 ? largest / kLargestByte : 1; }

}  // namespace

std::optional<CoarseKeys> CoarseKeys::of(const Kernels& kernels, const Directions& keys, int64_t queries, int threads) {
  const int64_t depth = rounded_up(keys.matrix.cols, kStep);
  const int64_t tiles = (keys.size() + kKeyTile - 1) / kKeyTile;
  if (kernels.s8.mr == 0 || keys.matrix.dtype == DType::kFloat64 || depth < kLeastDepth || depth > kMostDepth ||
      queries < kLeastQueries || tiles * kKeyTile * depth > kMostBytes) {
    return std::nullopt;
  }
  CoarseKeys coarse;
  coarse.depth_ = depth;
  coarse.order_.resize(static_cast<size_t>(keys.size()));
  coarse.ranges_.resize(static_cast<size_t>(tiles));
  coarse.packed_.resize(static_cast<size_t>(tiles * kKeyTile * depth));
  std::vector<double> largest(static_cast<size_t>(keys.size()));
  share_evenly(threads, keys.size(),
               [&](int64_t key) { largest[static_cast<size_t>(key)] = largest_element(kernels, keys, key); });
  std::iota(coarse.order_.begin(), coarse.order_.end(), 0);
  std::stable_sort(coarse.order_.begin(), coarse.order_.end(), [&largest](int32_t a, int32_t b) {
    return largest[static_cast<size_t>(a)] > largest[static_cast<size_t>(b)];
  });
  share_evenly(threads, tiles, [&](int64_t tile) { coarse.pack_tile(kernels, keys, largest, tile); });
  return coarse;
}

double CoarseKeys::largest_norm() const {
  double largest = 0;
  for (const CoarseRange& range : ranges_) {
    largest = std::max(largest, range.norm);
  }
  return largest;
}

void CoarseKeys::pack_tile(const Kernels& kernels, const Directions& keys, const std::vector<double>& largest,
                           int64_t tile) {
  const int64_t begin = tile * kKeyTile;
  const int64_t end = std::min(begin + kKeyTile, size());
  const int64_t width = kernels.s8.nr;
  CoarseRange& range = ranges_[static_cast<size_t>(tile)];
  range.scale = scale_for(largest[static_cast<size_t>(key(begin))]);
  std::vector<int8_t> row(static_cast<size_t>(rounded_up(depth_, 8)));
  for (int64_t place = begin; place < end; ++place) {
    keys.prefetch(key(std::min(place + kAhead, end - 1)));
    const CoarseRange own = quantised(kernels, keys, key(place), range.scale, row.data());
    range.error = std::max(range.error, own.error);
    range.norm = std::max(range.norm, own.norm);
    uint8_t* out = packed_.data() + place / width * width * depth_ + place % width * kStep;
    for (int64_t d = 0; d < depth_; d += kStep, out += width * kStep) {
      uint32_t four;
      std::memcpy(&four, row.data() + d, sizeof(four));
      four ^= 0x80808080u;  // 128 more: the instruction takes one side without a sign
      std::memcpy(out, &four, sizeof(four));
    }
  }
}

CoarseEngine::CoarseEngine(const Kernels& kernels, const CoarseKeys& keys, double slack)
    : kernels_(kernels),
      keys_(keys),
      slack_(slack),
      ld_marks_(kKeyTile / kernels.s8.nr),
      scales_(kQueryBlock),
      errors_(kQueryBlock),
      norms_(kQueryBlock),
      start_(kQueryBlock),
      thresholds_(kQueryBlock),
      row_(static_cast<size_t>(rounded_up(keys.depth(), 8))),
      packed_(static_cast<size_t>(kQueryBlock * keys.depth())),
      scores_(kQueryBlock * kKeyTile),
      marks_(static_cast<size_t>(kQueryBlock * ld_marks_)) {}

void CoarseEngine::pack(const Directions& queries, int64_t begin, int64_t count) {
  const int64_t height = kernels_.s8.mr;
  const int64_t depth = keys_.depth();
  count_ = count;
  for (int64_t i = 0; i < count; ++i) {
    const double scale = scale_for(largest_element(kernels_, queries, begin + i));
    const CoarseRange range = quantised(kernels_, queries, begin + i, scale, row_.data());
    const size_t at = static_cast<size_t>(i);
    scales_[at] = range.scale;
    errors_[at] = range.error;
    norms_[at] = range.norm;
    start_[at] = -128 * std::accumulate(row_.begin(), row_.end(), 0);
    int8_t* out = packed_.data() + i / height * height * depth + i % height * kStep;
    for (int64_t d = 0; d < depth; d += kStep, out += height * kStep) {
      std::memcpy(out, row_.data() + d, kStep);
    }
  }
  // Rows past the end of the last panel: whatever they hold, nothing of it exceeds this.
  std::fill(thresholds_.begin() + count, thresholds_.end(), std::numeric_limits<int32_t>::max());
}

void CoarseEngine::set_thresholds(const double* cuts, const CoarseRange& range) {
  constexpr double most = 1 << 30;  // no product comes near it
  for (size_t i = 0; i < static_cast<size_t>(count_); ++i) {
    const double threshold = (cuts[i] - bound(i, range)) / (scales_[i] * range.scale);
    // Two less: one for the direction in which the conversion rounds, one for its own rounding.
    thresholds_[i] = static_cast<int32_t>(std::min(std::max(threshold, -most), most)) - 2;
  }
}

void CoarseEngine::multiply(int64_t first, int64_t count, bool either_sign) {
  const int64_t mr = kernels_.s8.mr;
  const int64_t nr = kernels_.s8.nr;
  const int64_t depth = keys_.depth();
  for (int64_t j = 0; j < count; j += nr) {  // one panel of keys stays in the first-level cache, queries stream past
    const uint8_t* panel = keys_.panel(first + j);
    for (int64_t i = 0; i < count_; i += mr) {
      kernels_.gemm_s8(depth, packed_.data() + i * depth, panel, start_.data() + i, thresholds_.data() + i, either_sign,
                       scores_.data() + i * kKeyTile + j, kKeyTile, marks_.data() + i * ld_marks_ + j / nr, ld_marks_,
                       i == 0 && first + j + nr < keys_.size() ? panel + nr * depth : panel);
    }
  }
}

}  // namespace salt
