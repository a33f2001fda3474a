// Orthogonal matching pursuits on the device: what is kept of each query, and the inner products that all their kernels
// share. A product has one order of summation whoever forms it, so equal atoms tie exactly.
#pragma once

#include "../../common/views.h"
#include "block.cuh"
#include "combine.cuh"
#include "elements.cuh"

namespace salt::cuda {

// An atom whose |<residual, atom>| may be the largest; `upper` bounds it, relative to |residual| * largest atom.
struct Candidate {
  int64_t atom;
  float upper;
};

// As many as a warp looks at in one go, so that those always fit into an empty buffer.
constexpr int kCandidates = 256;

struct BestAtom {
  double correlation = -1;  // |<residual, atom>|
  int64_t atom = -1;

  __device__ __forceinline__ void offer(double value, int64_t index) {
    if (value > correlation || (value == correlation && index < atom)) {
      correlation = value;
      atom = index;
    }
  }
};

struct PursuitState {
  double norm = 0;  // of the residual
  double stop = 0;  // the norm at which the fit is good enough
  int chosen = 0;
  bool done = false;
  // Of the pass that is under way:
  int candidates = 0;
  float lower = 0;  // some atom reaches it, on the scale of Candidate::upper
  BestAtom best;    // among the candidates that were scored in float64 already
};

// Everything that the kernels of one block of queries share; rows of every array belong to one query each, but those of
// `unit`, which belong to the queries that `open` lists.
struct Pursuits {
  MatrixView queries;
  MatrixView atoms;
  bool aligned;                // every row of both begins on a 16-byte boundary
  int64_t width;               // of residual and unit rows: the columns rounded up to 8, filled up with zeros
  int64_t k;                   // slots of the result
  int limit;                   // atoms that a query can take
  double noise;                // the correlation of unit vectors that rounding alone can make
  int64_t words;               // of a row of `taken`
  const double* largest_norm;  // of the atoms
  PursuitState* states;
  double* residuals;
  double* factors;   // Cholesky factor of the chosen atoms' Gram matrix, packed by rows
  double* forwards;  // factor^-1 times the chosen atoms' products with the query
  unsigned* taken;   // a bit per atom: chosen, or in the span of the chosen
  Candidate* candidates;
  int64_t* indices;
  void* weights;
  int64_t* open;
  __half* unit;

  __device__ __forceinline__ double* residual(int64_t query) const { return residuals + query * width; }
  __device__ __forceinline__ double* factor(int64_t query) const {
    return factors + query * (static_cast<int64_t>(limit) * (limit + 1) / 2);
  }
  __device__ __forceinline__ bool is_taken(int64_t query, int64_t atom) const {
    return (taken[query * words + atom / 32] >> (atom % 32) & 1u) != 0;
  }
  template <class Element>
  __device__ __forceinline__ const Element* atom(int64_t index) const {
    return static_cast<const Element*>(atoms.data) + index * atoms.row_stride;
  }
};

// The kPerLoad neighbouring elements of a row from `source` on, by one load where rows are aligned. Conversions come
// after, so that several loads can be on their way.
template <class Element, bool kAligned>
__device__ __forceinline__ Loaded<Element> load_group(const Element* source) {
  if constexpr (kAligned) {
    return *reinterpret_cast<const Loaded<Element>*>(source);
  } else {
    Loaded<Element> loaded;
#pragma unroll
    for (int i = 0; i < kPerLoad<Element>; ++i) {
      loaded.values[i] = source[i];
    }
    return loaded;
  }
}

// The same where only `left` elements of the row may remain: zeros for the others.
template <class Element, bool kAligned>
__device__ __forceinline__ Loaded<Element> load_last(const Element* source, int64_t left) {
  if (left >= kPerLoad<Element>) {
    return load_group<Element, kAligned>(source);
  }
  Loaded<Element> loaded;
#pragma unroll
  for (int i = 0; i < kPerLoad<Element>; ++i) {
    loaded.values[i] = i < left ? source[i] : round_to<Element>(0.0f);
  }
  return loaded;
}

// The residual of the query as a float16 unit vector, at its slot of the next pass; by the whole block.
__device__ __forceinline__ void write_unit(const Pursuits& p, int64_t slot, int64_t query, double norm) {
  const double* residual = p.residual(query);
  for (int64_t d = threadIdx.x; d < p.width; d += blockDim.x) {
    p.unit[slot * p.width + d] = round_to<__half>(residual[d] / norm);
  }
}

// sum += <left, right>, element by element; `left` is a part of a residual.
template <class Element>
__device__ __forceinline__ void add_products(const double* left, const Loaded<Element>& right, double& sum) {
#pragma unroll
  for (int i = 0; i < kPerLoad<Element>; i += 2) {
    const auto pair = *reinterpret_cast<const Loaded<double>*>(left + i);
    sum = fma(pair.values[0], to_double(right.values[i]), sum);
    sum = fma(pair.values[1], to_double(right.values[i + 1]), sum);
  }
}

// |<residual of the query, atom>| in float64 by one warp.
template <class Element, bool kAligned>
__device__ __forceinline__ double warp_correlation(const Pursuits& p, int64_t query, int64_t atom) {
  constexpr int kWidth = kPerLoad<Element>;
  const double* residual = p.residual(query);
  const Element* row = p.atom<Element>(atom);
  const int64_t cols = p.atoms.cols;
  double sum = 0;
  int64_t d = lane_index() * kWidth;
  // Rounds that all lanes share, so that the loads of several are under way at once.
#pragma unroll 3
  for (int64_t round = cols / (kWarpSize * kWidth); round > 0; --round) {
    add_products(residual + d, load_group<Element, kAligned>(row + d), sum);
    d += kWarpSize * kWidth;
  }
  if (d < cols) {
    add_products(residual + d, load_last<Element, kAligned>(row + d, cols - d), sum);
  }
  return fabs(warp_reduce(sum, Sum{}));
}

}  // namespace salt::cuda
