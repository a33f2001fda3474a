// Streams the products of one block of queries with all keys, tile by tile; no more than one tile ever exists.
//
// The engine packs queries once per block and keys once per tile, multiplies them with the packed product of simd/, and
// hands each tile to a visitor. A score depends only on its own two rows: not on the block, the tile or the thread that
// computes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "panels.h"

namespace salt {

// Packing a key costs about as much as multiplying it with ten queries: many share it. Both are multiples of every
// table's mr and nr; the packed block, tile and scores of one split of the depth fit in 2 MB of second-level cache.
constexpr int64_t kQueryBlock = 384;
constexpr int64_t kKeyTile = 256;

// Queries per block, so that `threads` find enough blocks to share evenly.
inline int64_t query_block(int64_t queries, int threads) {
  constexpr int64_t granule = 12;
  constexpr int64_t smallest = 8 * granule;
  const int64_t fewest = (queries + kQueryBlock - 1) / kQueryBlock;
  const int64_t blocks = threads == 1 ? fewest : std::max<int64_t>(fewest, 4 * int64_t{threads});
  const int64_t size = (queries + blocks - 1) / std::max<int64_t>(1, blocks);
  return std::clamp((size + granule - 1) / granule * granule, smallest, kQueryBlock);
}

// Working memory of one thread; grows to O(block x depth) and is reused from block to block.
template <class T>
class TileEngine {
 public:
  explicit TileEngine(const Kernels& kernels)
      : kernels_(kernels),
        blocking_(Arithmetic<T>::blocking(kernels)),
        packer_(kernels),
        tile_(kQueryBlock * kKeyTile) {}

  // For each tile of keys: visit(first, count, scores, ld), where scores[i * ld + j] is the product of query
  // `query_begin + i` and key `first + j`, both counted among the valid rows.
  template <class Visit>
  void run(const Directions& queries, int64_t query_begin, int64_t query_count, const Directions& keys, Visit visit) {
    const int64_t depth = queries.matrix.cols;
    const int64_t m_panels = packer_.panels(query_count, blocking_.mr);
    const int64_t split = split_of(depth);
    packed_queries_.resize(static_cast<size_t>(m_panels * blocking_.mr * depth));
    packed_keys_.resize(static_cast<size_t>(kKeyTile * split));
    // Split along the depth first, so that each split of a panel is contiguous.
    for (int64_t d = 0; d < depth; d += split) {
      const int64_t n = std::min(split, depth - d);
      packer_.pack(queries, query_begin, query_count, d, n, blocking_.mr,
                   &packed_queries_[m_panels * blocking_.mr * d]);
    }
    for (int64_t first = 0; first < keys.size(); first += kKeyTile) {
      const int64_t count = std::min(kKeyTile, keys.size() - first);
      const int64_t n_panels = packer_.panels(count, blocking_.nr);
      for (int64_t d = 0; d < depth; d += split) {
        const int64_t n = std::min(split, depth - d);
        packer_.pack(keys, first, count, d, n, blocking_.nr, packed_keys_.data());
        (kernels_.*Arithmetic<T>::gemm)(m_panels, n_panels, n, &packed_queries_[m_panels * blocking_.mr * d],
                                        packed_keys_.data(), tile_.data(), kKeyTile, d > 0);
      }
      visit(first, count, tile_.data(), kKeyTile);
    }
  }

 private:
  // The depth in as few equal splits as `kc` allows.
  int64_t split_of(int64_t depth) const {
    const int64_t splits = std::max<int64_t>(1, (depth + blocking_.kc - 1) / blocking_.kc);
    return std::max<int64_t>(1, (depth + splits - 1) / splits);
  }

  const Kernels& kernels_;
  const Blocking& blocking_;
  PanelPacker<T> packer_;
  std::vector<T> tile_;
  std::vector<T> packed_queries_;
  std::vector<T> packed_keys_;
};

}  // namespace salt
