// Packs rows of one side of a product into panels, scaled to unit length on the way, so that no normalised copy of the
// matrix exists.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "arithmetic.h"
#include "directions.h"

namespace salt {

// Working memory of one thread.
template <class T>
class PanelPacker {
 public:
  explicit PanelPacker(const Kernels& kernels) : kernels_(kernels) {}

  static int64_t panels(int64_t rows, int64_t width) { return (rows + width - 1) / width; }

  // The valid rows begin .. begin + count - 1, from `depth_begin` on, as panels of `width` rows side by side:
  // out[panel][d][row]. Rows past the end are zero.
  void pack(const Directions& side, int64_t begin, int64_t count, int64_t depth_begin, int64_t depth, int64_t width,
            T* out) {
    pack_rows(side, [begin](int64_t i) { return begin + i; }, count, depth_begin, depth, width, out);
  }

  // The same of the valid rows index(0) .. index(count - 1).
  template <class Index>
  void pack_rows(const Directions& side, Index index, int64_t count, int64_t depth_begin, int64_t depth, int64_t width,
                 T* out) {
    rows_.resize(static_cast<size_t>(width));
    scales_.resize(static_cast<size_t>(width));
    for (int64_t first = 0; first < count; first += width) {
      const int64_t there = std::min(width, count - first);
      for (int64_t r = 0; r < there; ++r) {
        place(side, index(first + r), depth_begin, depth, r, width);
      }
      std::fill(rows_.begin() + there, rows_.end(), rows_[0]);
      std::fill(scales_.begin() + there, scales_.end(), T{0});
      (kernels_.*Arithmetic<T>::pack)(rows_.data(), scales_.data(), depth, width, out + first * depth);
    }
  }

 private:
  // Where row r of the panel lies and its factor: in the matrix itself if its elements are T already.
  void place(const Directions& side, int64_t index, int64_t depth_begin, int64_t depth, int64_t r, int64_t width) {
    const MatrixView& matrix = side.matrix;
    const void* in = matrix.at(side.valid[static_cast<size_t>(index)], depth_begin);
    const double scale = side.inverse_norm[static_cast<size_t>(index)];
    const bool in_range = scale > 1e-30 && scale < 1e30;  // else the scale itself could leave float32's range
    rows_[static_cast<size_t>(r)] = in;
    scales_[static_cast<size_t>(r)] = in_range ? static_cast<T>(scale) : T{1};
    if (in_range && matrix.dtype == Arithmetic<T>::dtype) {
      return;
    }
    widened_.resize(static_cast<size_t>(width * depth));
    T* copy = widened_.data() + r * depth;
    rows_[static_cast<size_t>(r)] = copy;
    if (in_range) {
      (kernels_.*Arithmetic<T>::widen)(matrix.dtype, in, depth, copy);
      return;
    }
    scaled_.resize(static_cast<size_t>(depth));
    kernels_.widen_f64(matrix.dtype, in, depth, scaled_.data());
    for (int64_t d = 0; d < depth; ++d) {
      copy[d] = static_cast<T>(scaled_[static_cast<size_t>(d)] * scale);
    }
  }

  const Kernels& kernels_;
  std::vector<const void*> rows_;
  std::vector<T> scales_;
  std::vector<T> widened_;
  std::vector<double> scaled_;
};

}  // namespace salt
