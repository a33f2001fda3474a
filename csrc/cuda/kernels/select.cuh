// One tile of approximate scores is looked through, one warp per query. Most groups of scores lie below the query's cut
// and cost one 16-byte load and a comparison; the row of the tile, 8 KiB at most, stays in the first-level cache for
// whatever must be read again.
#pragma once

#include "survivors.cuh"

namespace salt::cuda {

constexpr int kSelectThreads = 128;
constexpr int kKeyTile = 4096;
// Survivors are pruned whenever so many have come.
constexpr int kGrowth = 128;

// The keys of the tile that lie above the cut: bit i of the result for key i of group `g`.
__device__ __forceinline__ unsigned hits_of(const TileRow& tile, int g, float cut, ScoreGroup& group) {
  if (g >= tile.count) {
    return 0;
  }
  group = tile.load(g);
  unsigned hits = 0;
#pragma unroll
  for (int j = 0; j < kScoresPerGroup; ++j) {
    hits |= static_cast<unsigned>(group[j] > cut) << j;
  }
  return hits & tile.has_direction[g];
}

// The steps of 32 groups in which some score lies above the cut: bit i of the result for the groups from 32 i on.
__device__ __forceinline__ unsigned steps_above(const TileRow& tile, float cut) {
  static_assert(kKeyTile <= 32 * kWarpSize * kScoresPerGroup);
  unsigned steps = 0;
#pragma unroll 8
  for (int g = lane_index(); g < tile.count; g += kWarpSize) {
    steps |= static_cast<unsigned>(tile.load(g).highest() > cut) << (g / kWarpSize);
  }
  return __reduce_or_sync(kAllLanes, steps);
}

// `tile` holds the scores of `queries` rows, `stride` apart, against the keys from column `first` on, in `groups`
// groups; the tiles come in ascending order. A query of norm 0 has no survivors.
template <class Bound>
__global__ void __launch_bounds__(kSelectThreads)
    select_survivors(const __half* tile, int64_t stride, int64_t queries, int64_t first, int groups,
                     const double* query_norms, const uint8_t* has_direction, Survivors survivors, Bound bound) {
  const int64_t query = warp_of_grid();
  if (query >= queries) {
    return;
  }
  int size = first == 0 ? 0 : survivors.sizes[query];
  float cut = first == 0 ? -INFINITY : survivors.cuts[query];
  int32_t* columns = survivors.columns + query * survivors.capacity;
  __half* scores = survivors.scores + query * survivors.capacity;
  const TileRow row{reinterpret_cast<const ScoreGroup*>(tile + query * stride), has_direction + first / kScoresPerGroup,
                    groups};
  const auto raise_cut = [&](int from) {
    cut = fmaxf(cut, bound(Seen{scores, size, row, from}, cut) - bound.margin);
    size = prune(columns, scores, size, cut);
  };
  const bool open = query_norms[query] > 0 && size != kOverflowed;
  if (open && first == 0) {
    raise_cut(0);
  }
  int limit = min(survivors.capacity, (size / kGrowth + 1) * kGrowth);
  for (unsigned steps = open ? steps_above(row, cut) : 0u; steps != 0; steps &= steps - 1) {
    const int begin = (__ffs(static_cast<int>(steps)) - 1) * kWarpSize;
    const int g = begin + lane_index();
    ScoreGroup group;
    unsigned hits = hits_of(row, g, cut, group);
    int total = __reduce_add_sync(kAllLanes, __popc(hits));
    if (size + total > limit) {
      raise_cut(begin);
      limit = min(survivors.capacity, size + kGrowth);
      hits = hits_of(row, g, cut, group);
      total = __reduce_add_sync(kAllLanes, __popc(hits));
    }
    if (size + total > survivors.capacity) {
      size = kOverflowed;
      break;
    }
    int place = size + warp_exclusive_scan(__popc(hits));
#pragma unroll
    for (int j = 0; j < kScoresPerGroup; ++j) {
      if ((hits >> j & 1u) != 0) {
        columns[place] = static_cast<int32_t>(first + g * kScoresPerGroup + j);
        scores[place] = __float2half_rn(group[j]);
        ++place;
      }
    }
    size += total;
    __syncwarp();
  }
  if (lane_index() == 0) {
    survivors.sizes[query] = size;
    survivors.cuts[query] = cut;
  }
}

}  // namespace salt::cuda
