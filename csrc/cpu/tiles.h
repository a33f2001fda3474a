// Streams the products of one block of queries with all keys, tile by tile; no more than one tile ever exists.
//
// The engine packs queries once per block and keys once per tile, both scaled to unit length on the way (so no
// normalised copy of either matrix exists), multiplies them with the packed product of simd/, and hands each tile to a
// visitor. A score depends only on its own two rows: not on the block, the tile or the thread that computes it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "directions.h"
#include "simd/kernels.h"

namespace salt {

constexpr int64_t kQueryBlock = 192;  // a multiple of every table's mr
constexpr int64_t kKeyTile = 256;     // a multiple of every table's nr

// The kernels of one arithmetic type, so that the engine and the selections are written once.
template <class T>
struct Arithmetic;

template <>
struct Arithmetic<float> {
  static const Blocking& blocking(const Kernels& k) { return k.f32; }
  static constexpr auto widen = &Kernels::widen_f32;
  static constexpr auto gemm = &Kernels::gemm_f32;
  static constexpr auto select = &Kernels::select_f32;
  static constexpr auto combine = &Kernels::combine_f32;
  static constexpr auto narrow = &Kernels::narrow_f32;
};

template <>
struct Arithmetic<double> {
  static const Blocking& blocking(const Kernels& k) { return k.f64; }
  static constexpr auto widen = &Kernels::widen_f64;
  static constexpr auto gemm = &Kernels::gemm_f64;
  static constexpr auto select = &Kernels::select_f64;
  static constexpr auto combine = &Kernels::combine_f64;
  static constexpr auto narrow = &Kernels::narrow_f64;
};

// Working memory of one thread; grows to O(block x depth) and is reused from block to block.
template <class T>
class TileEngine {
 public:
  explicit TileEngine(const Kernels& kernels)
      : kernels_(kernels), blocking_(Arithmetic<T>::blocking(kernels)), tile_(kQueryBlock * kKeyTile) {}

  // For each tile of keys: visit(first, count, scores, ld), where scores[i * ld + j] is the product of query
  // `query_begin + i` and key `first + j`, both counted among the valid rows.
  template <class Visit>
  void run(const Directions& queries, int64_t query_begin, int64_t query_count, const Directions& keys, Visit visit) {
    const int64_t depth = queries.matrix.cols;
    const int64_t m_panels = panels(query_count, blocking_.mr);
    packed_queries_.resize(static_cast<size_t>(m_panels * blocking_.mr * depth));
    packed_keys_.resize(static_cast<size_t>(kKeyTile * std::min(depth, blocking_.kc)));
    // Split along the depth first, so that each split of a panel is contiguous.
    for (int64_t d = 0; d < depth; d += blocking_.kc) {
      const int64_t n = std::min(blocking_.kc, depth - d);
      pack(queries, query_begin, query_count, d, n, blocking_.mr, &packed_queries_[m_panels * blocking_.mr * d]);
    }
    for (int64_t first = 0; first < keys.size(); first += kKeyTile) {
      const int64_t count = std::min(kKeyTile, keys.size() - first);
      const int64_t n_panels = panels(count, blocking_.nr);
      for (int64_t d = 0; d < depth; d += blocking_.kc) {
        const int64_t n = std::min(blocking_.kc, depth - d);
        pack(keys, first, count, d, n, blocking_.nr, packed_keys_.data());
        (kernels_.*Arithmetic<T>::gemm)(m_panels, n_panels, n, &packed_queries_[m_panels * blocking_.mr * d],
                                        packed_keys_.data(), tile_.data(), kKeyTile, d > 0);
      }
      visit(first, count, tile_.data(), kKeyTile);
    }
  }

 private:
  static int64_t panels(int64_t rows, int64_t width) { return (rows + width - 1) / width; }

  // Panels of `width` rows side by side: out[panel][d][row]. Rows past the end are zero.
  void pack(const Directions& side, int64_t begin, int64_t count, int64_t depth_begin, int64_t depth, int64_t width,
            T* out) {
    row_.resize(static_cast<size_t>(depth));
    wide_row_.resize(static_cast<size_t>(depth));
    for (int64_t i = 0; i < panels(count, width) * width; ++i) {
      T* column = out + (i / width) * width * depth + i % width;
      if (i >= count) {
        for (int64_t d = 0; d < depth; ++d) {
          column[d * width] = 0;
        }
        continue;
      }
      const T* row = scaled_row(side, begin + i, depth_begin, depth);
      for (int64_t d = 0; d < depth; ++d) {
        column[d * width] = row[d];
      }
    }
  }

  const T* scaled_row(const Directions& side, int64_t index, int64_t depth_begin, int64_t depth) {
    const double scale = side.inverse_norm[static_cast<size_t>(index)];
    const void* in = side.matrix.at(side.valid[static_cast<size_t>(index)], depth_begin);
    const DType dtype = side.matrix.dtype;
    if (scale > 1e-30 && scale < 1e30) {
      (kernels_.*Arithmetic<T>::widen)(dtype, in, depth, row_.data());
      const T factor = static_cast<T>(scale);
      for (int64_t d = 0; d < depth; ++d) {
        row_[static_cast<size_t>(d)] *= factor;
      }
    } else {  // the scale itself would leave float32's range
      kernels_.widen_f64(dtype, in, depth, wide_row_.data());
      for (int64_t d = 0; d < depth; ++d) {
        row_[static_cast<size_t>(d)] = static_cast<T>(wide_row_[static_cast<size_t>(d)] * scale);
      }
    }
    return row_.data();
  }

  const Kernels& kernels_;
  const Blocking& blocking_;
  std::vector<T> tile_;
  std::vector<T> packed_queries_;
  std::vector<T> packed_keys_;
  std::vector<T> row_;
  std::vector<double> wide_row_;
};

}  // namespace salt
