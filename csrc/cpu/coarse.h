// Rows in eight bits, and what that costs each of them: a search that bounds every score for a quarter of the price of
// computing it, so that only the few whose bounds matter are computed.
//
// A row x becomes x' = scale * q with integers q in -127 .. 127, and |x - x'| is measured in float64. As
//   <x, y> - <x', y'> = <x - x', y> + <x', y - y'>,
// Cauchy and Schwarz prove
//   |<x, y> - scale_x scale_y <q_x, q_y>| <= |x - x'| |y| + (|x| + |x - x'|) |y - y'|
// with <q_x, q_y> an exact integer. `slack` |x| |y| more stands for the rounding of what is compared with.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "aligned.h"
#include "directions.h"
#include "simd/kernels.h"
#include "tiles.h"

namespace salt {

// Of one row, or the largest of each among several that share one scale.
struct CoarseRange {
  double scale = 0;
  double error = 0;  // |x - x'|
  double norm = 0;   // |x|
};

// The rounding of float64 scores, of norms and of the bounds themselves: far more than all of it.
constexpr double kCoarseSlack = 1e-9;

// What may lie between an exact score of unit vectors and that of TileEngine<float>, kCoarseSlack included.
inline double float_slack(int64_t depth) { return static_cast<double>(depth + 8) * 0x1.02p-24 + kCoarseSlack; }

// All keys, packed once for a whole call and shared by its threads. They stand in the order of their largest elements,
// so that each tile's keys get on well with one scale, and one key of extreme elements spoils nothing but its tile. The
// greatest come first: among keys of unequal norms they are likely to win, and the higher the cuts the fewer the marks.
class CoarseKeys {
 public:
  // Nothing where this does not pay: no kernels for it, float64 or few elements in a row, few queries to share the work
  // of packing, or more than kMostBytes to keep.
  static std::optional<CoarseKeys> of(const Kernels& kernels, const Directions& keys, int64_t queries, int threads);

  int64_t size() const { return static_cast<int64_t>(order_.size()); }
  int64_t depth() const { return depth_; }
  // The key at a place, counted among the valid keys.
  int64_t key(int64_t place) const { return order_[static_cast<size_t>(place)]; }
  const CoarseRange& range(int64_t tile) const { return ranges_[static_cast<size_t>(tile)]; }
  double largest_norm() const;
  const uint8_t* panel(int64_t place) const { return packed_.data() + place * depth_; }

 private:
  static constexpr int64_t kLeastDepth = 64;
  static constexpr int64_t kMostDepth = int64_t{1} << 15;  // 32-bit sums of products of up to 255 * 127
  static constexpr int64_t kLeastQueries = 24;
  static constexpr int64_t kMostBytes = int64_t{48} << 20;

  void pack_tile(const Kernels& kernels, const Directions& keys, const std::vector<double>& largest, int64_t tile);

  int64_t depth_ = 0;  // bytes of a key: a multiple of 4
  std::vector<int32_t> order_;
  std::vector<CoarseRange> ranges_;  // by tile
  AlignedVector<uint8_t> packed_;    // in panels of nr keys; 128 more than q
};

// Products of one block of queries with all keys, tile by tile. Working memory of one thread.
class CoarseEngine {
 public:
  CoarseEngine(const Kernels& kernels, const CoarseKeys& keys, double slack);

  // The queries begin .. begin + count - 1 become the block; at most kQueryBlock.
  void pack(const Directions& queries, int64_t begin, int64_t count);

  // Calls visit(tile, index of the tile) for one tile after the other; tile.first counts places. A product is marked
  // where its upper bound may exceed cuts[query], with `either_sign` that of its magnitude; visit may raise the cuts.
  template <class Visit>
  void run(const double* cuts, bool either_sign, Visit visit) {
    for (int64_t first = 0, index = 0; first < keys_.size(); first += kKeyTile, ++index) {
      const int64_t count = std::min(kKeyTile, keys_.size() - first);
      set_thresholds(cuts, keys_.range(index));
      multiply(first, count, either_sign);
      visit(Tile<int32_t>{first, count, scores_.data(), marks_.data(), ld_marks_}, index);
    }
  }

  // A product is integer * scale(), give or take error().
  double scale(int64_t query, int64_t tile) const {
    return scales_[static_cast<size_t>(query)] * keys_.range(tile).scale;
  }
  double norm(int64_t query) const { return norms_[static_cast<size_t>(query)]; }
  double error(int64_t query, int64_t tile) const { return bound(static_cast<size_t>(query), keys_.range(tile)); }

 private:
  double bound(size_t i, const CoarseRange& range) const {
    return errors_[i] * range.norm + (norms_[i] + errors_[i]) * range.error + slack_ * norms_[i] * range.norm;
  }
  void set_thresholds(const double* cuts, const CoarseRange& range);
  void multiply(int64_t first, int64_t count, bool either_sign);

  const Kernels& kernels_;
  const CoarseKeys& keys_;
  const double slack_;
  const int64_t ld_marks_;
  int64_t count_ = 0;
  std::vector<double> scales_;  // by query, as the next four
  std::vector<double> errors_;
  std::vector<double> norms_;
  std::vector<int32_t> start_;       // takes the keys' 128 away again
  std::vector<int32_t> thresholds_;  // of the integers
  std::vector<int8_t> row_;
  AlignedVector<int8_t> packed_;
  AlignedVector<int32_t> scores_;
  AlignedVector<uint32_t> marks_;
};

}  // namespace salt
