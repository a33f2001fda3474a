// Cosines in float64 of the rows as they were given, for the few keys that approximate scores leave, and for all keys
// where those leave too many. Equal rows get equal bits, whichever threads take them.
#pragma once

#include <cmath>

#include "../../common/views.h"
#include "block.cuh"
#include "elements.cuh"

namespace salt::cuda {

// One side of the comparison: rows and their norms.
struct ExactRows {
  MatrixView matrix;
  const double* norms;
};

// How many keys a warp compares with its query at once: as many loads are on their way, and the query's elements are
// widened once for all of them.
constexpr int kKeysAtOnce = 4;

// Products of narrower elements cannot leave float64's range, so that one division at the end does.
template <class Element>
__device__ __forceinline__ double scaled(Element value, double norm) {
  return sizeof(Element) == 8 ? to_double(value) / norm : to_double(value);
}

// cosines[i] of the query's row and row keys[i]; the same in every lane. All norms are above 0.
template <class Element>
__device__ __forceinline__ void warp_cosines(const Element* query, double query_norm,
                                             const Element* const (&keys)[kKeysAtOnce],
                                             const double (&key_norms)[kKeysAtOnce], int64_t depth,
                                             double (&cosines)[kKeysAtOnce]) {
#pragma unroll
  for (double& cosine : cosines) {
    cosine = 0;
  }
#pragma unroll 2
  for (int64_t d = lane_index(); d < depth; d += kWarpSize) {
    const double value = scaled(query[d], query_norm);
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      cosines[i] = fma(value, scaled(keys[i][d], key_norms[i]), cosines[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kKeysAtOnce; ++i) {
    cosines[i] = warp_reduce(cosines[i], Sum{});
    if (sizeof(Element) < 8) {
      cosines[i] /= query_norm * key_norms[i];
    }
  }
}

// scores[i] = cosine of the query and key columns[i], or key i where columns is null, for i < count; -inf for a key of
// norm 0. By all threads of the block, at the end in step; the query's norm is above 0.
template <class Element>
__device__ void block_cosines(const ExactRows& queries, int64_t query, const ExactRows& keys, const int32_t* columns,
                              int64_t count, double* scores) {
  const Element* query_row = static_cast<const Element*>(queries.matrix.row(query));
  const double query_norm = queries.norms[query];
  for (int64_t begin = static_cast<int64_t>(warp_index()) * kKeysAtOnce; begin < count;
       begin += static_cast<int64_t>(warps_of_block()) * kKeysAtOnce) {
    const Element* rows[kKeysAtOnce];
    double norms[kKeysAtOnce];
    double cosines[kKeysAtOnce];
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      const int64_t place = begin + i < count ? begin + i : count - 1;
      const int64_t key = columns == nullptr ? place : columns[place];
      rows[i] = static_cast<const Element*>(keys.matrix.row(key));
      norms[i] = keys.norms[key];
    }
    warp_cosines(query_row, query_norm, rows, norms, keys.matrix.cols, cosines);
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      if (lane_index() == i && begin + i < count) {
        scores[begin + i] = norms[i] > 0 ? cosines[i] : -INFINITY;
      }
    }
  }
  __syncthreads();
}

}  // namespace salt::cuda
