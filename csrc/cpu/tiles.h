// Streams the products of one block of queries with all keys, tile by tile; no more than one tile ever exists.
//
// The engine packs queries once per block and keys once per tile, multiplies them with the packed product of simd/, and
// hands each tile to a visitor. A score depends only on its own two rows: not on the block, the tile or the thread that
// computes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "panels.h"

namespace salt {

// Packing a key costs about as much as multiplying it with ten queries: many share it. Both are multiples of every
// table's mr and nr; the packed block, tile and scores of one split of the depth fit in 2 MB of second-level cache.
constexpr int64_t kQueryBlock = 384;
constexpr int64_t kKeyTile = 128;

// Queries per block, so that `threads` find enough blocks to share evenly.
inline int64_t query_block(int64_t queries, int threads) {
  constexpr int64_t granule = 12;
  constexpr int64_t smallest = 8 * granule;
  const int64_t fewest = (queries + kQueryBlock - 1) / kQueryBlock;
  const int64_t blocks = threads == 1 ? fewest : std::max<int64_t>(fewest, 4 * int64_t{threads});
  const int64_t size = (queries + blocks - 1) / std::max<int64_t>(1, blocks);
  return std::clamp((size + granule - 1) / granule * granule, smallest, kQueryBlock);
}

// The same where keys are packed already: as many blocks as threads, or a multiple.
inline int64_t even_block(int64_t queries, int threads) {
  constexpr int64_t granule = 12;
  constexpr int64_t smallest = 2 * granule;  // fewer, and fetching the keys takes longer than multiplying them
  const int64_t rounds = (queries + kQueryBlock * threads - 1) / (kQueryBlock * threads);
  const int64_t blocks = std::max<int64_t>(1, rounds * threads);
  const int64_t size = (queries + blocks - 1) / blocks;
  return std::clamp((size + granule - 1) / granule * granule, smallest, kQueryBlock);
}

// The depth in as few equal splits as `most` allows.
inline int64_t depth_split(int64_t depth, int64_t most) {
  const int64_t splits = std::max<int64_t>(1, (depth + most - 1) / most);
  return std::max<int64_t>(1, (depth + splits - 1) / splits);
}

// The products of a block of queries and some keys; `marks` has a bit for each that exceeds its query's threshold.
template <class T>
struct Tile {
  int64_t first;  // the first key, among the valid keys
  int64_t count;  // keys
  const T* scores;
  const uint32_t* marks;
  int64_t ld_marks;

  bool any_marked(int64_t query) const {
    uint32_t any = 0;
    for (int64_t p = 0; p < ld_marks; ++p) {
      any |= marks[query * ld_marks + p];
    }
    return any != 0;
  }

  // use(key, score) for every marked product of one query, keys ascending.
  template <class Use>
  void for_each_marked(int64_t query, Use use) const {
    const T* row = scores + query * kKeyTile;
    const uint32_t* words = marks + query * ld_marks;
    const int64_t panel = kKeyTile / ld_marks;
    for (int64_t begin = 0; begin < count; begin += panel) {
      for (uint32_t bits = *words++; bits != 0; bits &= bits - 1) {
        const int64_t j = begin + __builtin_ctz(bits);
        if (j < count) {
          use(first + j, row[j]);
        }
      }
    }
  }
};

// Working memory of one thread; grows to O(block x depth) and is reused from block to block.
template <class T>
class TileEngine {
 public:
  explicit TileEngine(const Kernels& kernels)
      : kernels_(kernels),
        blocking_(Arithmetic<T>::blocking(kernels)),
        packer_(kernels),
        scores_(kQueryBlock * kKeyTile),
        ld_marks_(kKeyTile / blocking_.nr),
        marks_(static_cast<size_t>(kQueryBlock * ld_marks_)) {}

  // Calls visit(tile) for one tile of keys after the other, keys ascending. A product is marked when it exceeds
  // thresholds[query - query_begin], with `either_sign` when its magnitude does; there is room for kQueryBlock of
  // them, and visit may raise them. Queries and keys are counted among the valid rows.
  template <class Visit>
  void run(const Directions& queries, int64_t query_begin, int64_t query_count, const Directions& keys,
           const T* thresholds, bool either_sign, Visit visit) {
    const int64_t depth = queries.matrix.cols;
    const int64_t split = depth_split(depth, blocking_.kc);
    const int64_t m_panels = packer_.panels(query_count, blocking_.mr);
    packed_queries_.resize(static_cast<size_t>(m_panels * blocking_.mr * depth));
    packed_keys_.resize(static_cast<size_t>(kKeyTile * split));
    // Split along the depth first, so that each split of a panel is contiguous.
    for (int64_t d = 0; d < depth; d += split) {
      const int64_t n = std::min(split, depth - d);
      packer_.pack(queries, query_begin, query_count, d, n, blocking_.mr,
                   packed_queries_.data() + m_panels * blocking_.mr * d);
    }
    for (int64_t first = 0; first < keys.size(); first += kKeyTile) {
      const int64_t count = std::min(kKeyTile, keys.size() - first);
      for (int64_t d = 0; d < depth; d += split) {
        const bool last = d + split >= depth;
        const int64_t n = std::min(split, depth - d);
        packer_.pack(keys, first, count, d, n, blocking_.nr, packed_keys_.data());
        multiply(packed_queries_.data() + m_panels * blocking_.mr * d, m_panels, count, n, d > 0,
                 last ? thresholds : nullptr, either_sign,
                 last ? Ahead{&keys, first + kKeyTile, 0} : Ahead{&keys, first, d + split});
      }
      visit(Tile<T>{first, count, scores_.data(), marks_.data(), ld_marks_});
    }
  }

 private:
  // Where the rows that are packed next begin.
  struct Ahead {
    const Directions* keys;
    int64_t first;
    int64_t depth_begin;

    const void* row(int64_t i) const {
      const int64_t index = std::min(first + i, keys->size() - 1);
      return keys->matrix.at(keys->valid[static_cast<size_t>(index)], depth_begin);
    }
  };

  // scores_ = or += the product of packed queries and packed_keys_; marks_ too where there are thresholds.
  void multiply(const T* a, int64_t m_panels, int64_t count, int64_t depth, bool accumulate, const T* thresholds,
                bool either_sign, const Ahead& ahead) {
    const int64_t mr = blocking_.mr;
    const int64_t nr = blocking_.nr;
    const int64_t n_panels = packer_.panels(count, nr);
    for (int64_t j = 0; j < n_panels; ++j) {  // one panel of keys stays in the first-level cache, queries stream past
      const T* b = packed_keys_.data() + j * nr * depth;
      for (int64_t i = 0; i < m_panels; ++i) {
        T* c = scores_.data() + i * mr * kKeyTile + j * nr;
        (kernels_.*Arithmetic<T>::gemm)(depth, a + i * mr * depth, b, c, kKeyTile, accumulate,
                                        ahead.row(j * m_panels + i));
        if (thresholds != nullptr) {
          (kernels_.*Arithmetic<T>::mark)(c, kKeyTile, thresholds + i * mr, either_sign,
                                          marks_.data() + i * mr * ld_marks_ + j, ld_marks_);
        }
      }
    }
  }

  const Kernels& kernels_;
  const Blocking& blocking_;
  PanelPacker<T> packer_;
  AlignedVector<T> scores_;
  const int64_t ld_marks_;
  AlignedVector<uint32_t> marks_;
  AlignedVector<T> packed_queries_;
  AlignedVector<T> packed_keys_;
};

}  // namespace salt
