// Rows laid side by side for the packed product: a transposition by whole vectors. Part of generic.inl.h.
#pragma once

#include <utility>

#include "elements.inl.h"
#include "vectors.inl.h"

namespace salt {
namespace {

// a and b taken turn about: from their first halves, then from their second.
template <class Vec, int... I>
inline Vec interleave(Vec a, Vec b, bool second, std::integer_sequence<int, I...>) {
  constexpr int lanes = sizeof...(I);
  return second ? __builtin_shufflevector(a, b, (lanes / 2 + I / 2 + I % 2 * lanes)...)
                : __builtin_shufflevector(a, b, (I / 2 + I % 2 * lanes)...);
}

// Transposes a square of vectors. Seen as one sequence, taking its two halves turn about rotates the bits of every
// element's index by one, and as many rotations as a lane's number has bits exchange row and column.
template <class T>
inline void transpose(typename VectorOf<T>::Vec* v) {
  constexpr int lanes = VectorOf<T>::lanes;
  constexpr std::make_integer_sequence<int, lanes> turns{};
  typename VectorOf<T>::Vec next[lanes];
#pragma GCC unroll 4
  for (int step = 1; step < lanes; step *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = interleave(v[i], v[i + lanes / 2], false, turns);
      next[2 * i + 1] = interleave(v[i], v[i + lanes / 2], true, turns);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      v[i] = next[i];
    }
  }
}

// As many rows as a vector has lanes, `lanes` elements of each from `d` on.
template <class T>
inline void pack_square(const void* const* rows, typename VectorOf<T>::Vec scales, int64_t d, int64_t width, T* out) {
  constexpr int64_t lanes = VectorOf<T>::lanes;
  typename VectorOf<T>::Vec square[lanes];
#pragma GCC unroll 16
  for (int64_t i = 0; i < lanes; ++i) {
    __builtin_memcpy(&square[i], static_cast<const unsigned char*>(rows[i]) + d * int64_t{sizeof(T)},
                     sizeof(square[i]));
  }
  transpose<T>(square);
#pragma GCC unroll 16
  for (int64_t i = 0; i < lanes; ++i) {
    store(out + (d + i) * width, square[i] * scales);
  }
}

template <class T>
void pack(const void* const* rows, const T* scales, int64_t depth, int64_t width, T* out) {
  constexpr int64_t lanes = VectorOf<T>::lanes;
  int64_t row = 0;
  if (depth >= lanes) {
    for (; row + lanes <= width; row += lanes) {
      const typename VectorOf<T>::Vec group = load(scales + row);
      int64_t d = 0;
      for (; d + lanes <= depth; d += lanes) {
        pack_square(rows + row, group, d, width, out + row);
      }
      if (d < depth) {  // the last square reaches back over elements that are there already
        pack_square(rows + row, group, depth - lanes, width, out + row);
      }
    }
  }
  for (; row < width; ++row) {
    for (int64_t d = 0; d < depth; ++d) {
      out[d * width + row] = scalar_at<T>(rows[row], d) * scales[row];
    }
  }
}

}  // namespace
}  // namespace salt
