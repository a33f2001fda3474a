// The keys that may still be chosen by a query: kept by one warp while tiles of approximate scores stream by. What is
// kept lies above the query's cut, which only rises; columns ascend.
#pragma once

#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.cuh"

namespace salt::cuda {

constexpr int kScoresPerGroup = 8;
constexpr int kOverflowed = -1;

// As many scores as one 16-byte load brings.
struct alignas(16) ScoreGroup {
  __half2 pairs[kScoresPerGroup / 2];

  __device__ __forceinline__ float operator[](int index) const {
    const __half2 pair = pairs[index / 2];
    return index % 2 == 0 ? __low2float(pair) : __high2float(pair);
  }
  __device__ __forceinline__ float highest() const {
    const __half2 pair = __hmax2(__hmax2(pairs[0], pairs[1]), __hmax2(pairs[2], pairs[3]));
    return fmaxf(__low2float(pair), __high2float(pair));
  }
};

// The scores of one query in one tile. Bit i of has_direction[group] tells whether key i of the group may be chosen: it
// is clear for keys of norm 0 and beyond the last key.
struct TileRow {
  const ScoreGroup* groups = nullptr;
  const uint8_t* has_direction = nullptr;
  int count = 0;  // of groups

  // Said outright, because the compiler would make four loads of a copied struct.
  __device__ __forceinline__ ScoreGroup load(int group) const {
    const uint4 bytes = *reinterpret_cast<const uint4*>(groups + group);
    ScoreGroup result;
    static_assert(sizeof(result) == sizeof(bytes));
    memcpy(&result, &bytes, sizeof(result));
    return result;
  }
};

// Of a block of queries: survivors of query i at columns[i * capacity] and scores[i * capacity]. sizes[i] may be
// kOverflowed: more than fit, nothing is known about this query.
struct Survivors {
  int32_t* columns;
  __half* scores;
  int32_t* sizes;
  float* cuts;
  int capacity;
};

// What a query knows while a tile is looked at: the survivors so far and the tile from group `from` on.
struct Seen {
  const __half* kept;
  int size;
  TileRow tile;
  int from;

  // Every score once, spread over the lanes of the warp, and -inf in place of keys that may not be chosen: visits
  // without branches are cheaper than fewer visits.
  template <class Visit>
  __device__ __forceinline__ void for_each(Visit visit) const {
    for (int i = lane_index(); i < size; i += kWarpSize) {
      visit(__half2float(kept[i]));
    }
#pragma unroll 4
    for (int g = from + lane_index(); g < tile.count; g += kWarpSize) {
      const ScoreGroup group = tile.load(g);
      const unsigned bits = tile.has_direction[g];
#pragma unroll
      for (int j = 0; j < kScoresPerGroup; ++j) {
        visit((bits >> j & 1u) != 0 ? group[j] : -INFINITY);
      }
    }
  }
};

// Drops the survivors that are not above `cut`, in place; returns how many are left. By one warp.
__device__ __forceinline__ int prune(int32_t* columns, __half* scores, int size, float cut) {
  int kept = 0;
  for (int begin = 0; begin < size; begin += kWarpSize) {
    const int i = begin + lane_index();
    const int32_t column = i < size ? columns[i] : 0;
    const __half score = scores[i < size ? i : 0];
    const bool keep = i < size && __half2float(score) > cut;
    // All lanes have read by now, and write no further than they have read.
    const unsigned keepers = __ballot_sync(kAllLanes, keep);
    if (keep) {
      const int place = kept + __popc(keepers & ((1u << lane_index()) - 1u));
      columns[place] = column;
      scores[place] = score;
    }
    kept += __popc(keepers);
  }
  __syncwarp();
  return kept;
}

}  // namespace salt::cuda
