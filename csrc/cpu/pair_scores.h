// The scores of one query with a few keys, to the bit those of TileEngine<float>.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "panels.h"
#include "tiles.h"

namespace salt {

// Working memory of one thread.
class PairScores {
 public:
  explicit PairScores(const Kernels& kernels) : kernels_(kernels), packer_(kernels) {}

  // scores[i] becomes that of the valid rows `query` and columns[i].
  void run(const Directions& queries, int64_t query, const Directions& keys, const std::vector<int64_t>& columns,
           std::vector<float>& scores) {
    const int64_t depth = keys.matrix.cols;
    const int64_t split = depth_split(depth, kernels_.f32.kc);
    const int64_t width = kernels_.f32.nr;
    const int64_t count = static_cast<int64_t>(columns.size());
    query_.resize(static_cast<size_t>(split));
    keys_.resize(static_cast<size_t>(split * width));
    scores.resize(static_cast<size_t>((count + width - 1) / width * width));
    for (int64_t d = 0; d < depth; d += split) {
      const int64_t n = std::min(split, depth - d);
      packer_.pack(queries, query, 1, d, n, 1, query_.data());
      for (int64_t first = 0; first < count; first += width) {
        packer_.pack_rows(
            keys, [&](int64_t i) { return columns[static_cast<size_t>(first + i)]; }, std::min(width, count - first), d,
            n, width, keys_.data());
        kernels_.gemm_row_f32(n, query_.data(), keys_.data(), scores.data() + first, d > 0);
      }
    }
    scores.resize(static_cast<size_t>(count));
  }

 private:
  const Kernels& kernels_;
  PanelPacker<float> packer_;
  AlignedVector<float> query_;
  AlignedVector<float> keys_;
};

}  // namespace salt
