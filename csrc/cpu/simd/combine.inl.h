// Weighted sums of rows of a table. Part of generic.inl.h, whose vector types it uses.
#pragma once

#include "elements.inl.h"
#include "vectors.inl.h"

namespace salt {
namespace {

// The sums of one segment stay in registers while the rows go by; the many rows whose next segments are on their way
// at the same time are what hides the latency of memory.
template <class T>
void combine(DType dtype, const void* table, int64_t row_bytes, const int64_t* rows, const T* weights, int64_t count,
             int64_t width, void* out) {
  constexpr int64_t kVectors = 8;
  constexpr int64_t lanes = VectorOf<T>::lanes;
  constexpr int64_t segment = kVectors * lanes;
  constexpr DType own = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
  const int64_t bytes = element_size(dtype);
  // A sum that starts at -0.0, the one value that every addend leaves as it is, copies a row of weight 1 bit for bit.
  const auto zero = typename VectorOf<T>::Vec{};
  const auto start = count == 0 ? zero : -zero;
  T widened[segment] = {};
  for (int64_t begin = 0; begin < width; begin += segment) {
    const int64_t length = width - begin < segment ? width - begin : segment;
    const bool in_place = dtype == own && length == segment;
    typename VectorOf<T>::Vec sums[kVectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) {
      sums[v] = start;
    }
    for (int64_t e = 0; e < count; ++e) {
      const unsigned char* row = static_cast<const unsigned char*>(table) + rows[e] * row_bytes + begin * bytes;
      const T* values = widened;
      if (in_place) {
        values = reinterpret_cast<const T*>(row);
      } else {
        widen<T>(dtype, row, length, widened);
      }
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) {
        sums[v] += weights[e] * load(values + v * lanes);
      }
    }
    T finished[segment];
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) {
      store(finished + v * lanes, sums[v]);
    }
    narrow<T>(dtype, finished, length, static_cast<unsigned char*>(out) + begin * bytes);
  }
}

}  // namespace
}  // namespace salt
