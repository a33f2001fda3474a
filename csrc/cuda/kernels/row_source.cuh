// The anchors and the query of one row of lstsq_weights as the solvers see them: gathered, around their mean, scaled.
#pragma once

#include "../../common/views.h"
#include "block.cuh"
#include "elements.cuh"

namespace salt::cuda {

// Four neighbouring elements, loaded at once.
template <class Element>
struct alignas(sizeof(Element) * 4 < 16 ? sizeof(Element) * 4 : 16) Quad {
  Element values[4];
};

// Row i of A is scale(i) (anchor i - mean), the right-hand side (query - mean).
template <class Element>
struct RowSource {
  const Element* anchors = nullptr;
  int64_t stride = 0;
  const int64_t* columns = nullptr;
  const Element* query = nullptr;
  const double* scales = nullptr;  // sqrt(k p), null: 1
  const double* mean = nullptr;    // p A, null: 0
  double inverse_k = 0;
  int64_t k = 0;
  int h = 0;
  bool vectorised = false;  // anchors and query may be read by quads

  __device__ __forceinline__ const Element* row(int64_t i) const { return anchors + columns[i] * stride; }
  __device__ __forceinline__ double scale(int64_t i) const { return scales == nullptr ? 1.0 : scales[i]; }
  __device__ __forceinline__ double probability(int64_t i) const { return scale(i) * scale(i) * inverse_k; }
  __device__ __forceinline__ double mean_at(int d) const { return mean == nullptr ? 0.0 : mean[d]; }
  __device__ __forceinline__ double centred(const Element* values, int d) const {
    return to_double(values[d]) - mean_at(d);
  }
  __device__ __forceinline__ double value(int64_t i, int d) const { return scale(i) * centred(row(i), d); }
  // The system in the smaller of the two dimensions: n = min(k, h) unknowns.
  __device__ __forceinline__ bool by_anchors() const { return k <= h; }
  __device__ __forceinline__ int unknowns() const { return k < h ? static_cast<int>(k) : h; }
};

template <class Element>
__device__ __forceinline__ Quad<Element> load_quad(const Element* row, int d) {
  return *reinterpret_cast<const Quad<Element>*>(row + d);
}

// out[d] = sum of p_i anchor_i[d], by the whole block; a barrier is left to the caller.
template <class Element>
__device__ __forceinline__ void mean_of_anchors(const RowSource<Element>& source, double* out) {
  const int full = source.vectorised ? source.h / 4 * 4 : 0;
  for (int d = 4 * threadIdx.x; d < full; d += 4 * blockDim.x) {
    double sum[4] = {};
#pragma unroll 4
    for (int64_t i = 0; i < source.k; ++i) {
      const Quad<Element> quad = load_quad(source.row(i), d);
      const double probability = source.probability(i);
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        sum[s] = fma(probability, to_double(quad.values[s]), sum[s]);
      }
    }
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      out[d + s] = sum[s];
    }
  }
  for (int d = full + threadIdx.x; d < source.h; d += blockDim.x) {
    double sum = 0;
    for (int64_t i = 0; i < source.k; ++i) {
      sum = fma(source.probability(i), to_double(source.row(i)[d]), sum);
    }
    out[d] = sum;
  }
}

// out[d] = base(d) - sum of factors[i] A[i, d].
template <class Element, class Base>
__device__ __forceinline__ void subtract_combination(const RowSource<Element>& source, const double* factors, Base base,
                                                     double* out) {
  for (int d = threadIdx.x; d < source.h; d += blockDim.x) {
    double sum = base(d);
#pragma unroll 4
    for (int64_t i = 0; i < source.k; ++i) {
      sum = fma(-factors[i], source.value(i, d), sum);
    }
    out[d] = sum;
  }
}

// out[i] = A[i] . vector, one warp per anchor.
template <class Element>
__device__ __forceinline__ void products_with_anchors(const RowSource<Element>& source, const double* vector,
                                                      double* out) {
  for (int64_t i = warp_index(); i < source.k; i += warps_of_block()) {
    const Element* anchor = source.row(i);
    double sum = 0;
    for (int d = lane_index(); d < source.h; d += kWarpSize) {
      sum = fma(source.centred(anchor, d), vector[d], sum);
    }
    sum = warp_reduce(sum, Sum{});
    if (lane_index() == 0) {
      out[i] = source.scale(i) * sum;
    }
  }
}

// Whether anchor i is the query, bit by bit; the same in every thread.
template <class Element>
__device__ __forceinline__ bool is_query(const RowSource<Element>& source, int64_t i, int* scratch) {
  using Bits =
      std::conditional_t<sizeof(Element) == 8, uint64_t, std::conditional_t<sizeof(Element) == 4, uint32_t, uint16_t>>;
  const auto* anchor = reinterpret_cast<const Bits*>(source.row(i));
  const auto* query = reinterpret_cast<const Bits*>(source.query);
  int differs = 0;
  for (int d = threadIdx.x; d < source.h; d += blockDim.x) {
    differs |= static_cast<int>(anchor[d] != query[d]);
  }
  return block_reduce(differs, Max{}, 0, scratch) == 0;
}

// The row's weights in place of its scales, from solution[i] for the scaled anchors.
template <class Element>
__device__ __forceinline__ void finish_weights(const RowSource<Element>& source, const double* solution, bool intercept,
                                               double* weights, double* scratch) {
  double sum = 0;
  if (intercept) {
    for (int64_t i = threadIdx.x; i < source.k; i += blockDim.x) {
      sum = fma(solution[i], source.scale(i), sum);
    }
    sum = block_reduce(sum, Sum{}, 0.0, scratch);
  }
  for (int64_t i = threadIdx.x; i < source.k; i += blockDim.x) {
    const double weight = solution[i] * source.scale(i);
    weights[i] = intercept ? weight + source.probability(i) * (1 - sum) : weight;
  }
}

}  // namespace salt::cuda
