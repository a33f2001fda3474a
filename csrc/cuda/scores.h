// Approximate cosines of all pairs, tile by tile, from float16 tensor cores; and how wrong they can be. Whatever looks
// for the best keys of a query keeps those within reach of that error and scores the few again in float64.
//
// float16 rather than bfloat16 or TF32: the elements of unit vectors need no wide exponent, float16 rounds them as TF32
// does (2^-11) at twice its speed, and a float16 tile costs half the memory traffic of a float32 one.
#pragma once

#include <cuda_fp16.h>

#include "runtime/context.h"

namespace salt::cuda {

// |approximate - exact cosine| is at most this. Cauchy and Schwarz: the terms' magnitudes add up to at most 1.
//   2^-10 + 2^-22            both operands rounded to float16 (2^-11 each)
//   sqrt(depth) 2^-23        elements below float16's normal numbers, 2^-25 each on either side, times unit vectors
//   (depth + 16) 2^-22       float32 sums; tensor cores may truncate, hence four times the bound of rounded sums
//   2^-11                    the result rounded to float16 (at most 2^-11 up to 2)
inline double score_error(int64_t depth) {
  const double n = static_cast<double>(depth);
  return 0x1p-10 + 0x1p-11 + 0x1p-22 + std::sqrt(n) * 0x1p-23 + (n + 16) * 0x1p-22;
}

// The rows of a matrix as float16 unit vectors.
struct UnitRows {
  MatrixView matrix;    // the rows as they were given
  int64_t width = 0;    // of a unit row: matrix.cols rounded up to 8 elements, filled up with zeros
  Buffer<__half> unit;  // [padded_rows(rows), width]; zero in rows of norm 0 and behind the last
  Buffer<double> norm;  // [rows], Euclidean

  const __half* row(int64_t index) const { return unit.data() + index * width; }
};

inline int64_t round_up(int64_t size, int64_t step) { return (size + step - 1) / step * step; }

inline int64_t unit_width(int64_t depth) { return round_up(depth, 8); }

// Tiles may take so many keys, so that all scores that a 16-byte load brings are written.
inline int64_t padded_rows(int64_t rows) { return round_up(rows, 8); }

// Refuses a row with NaN or infinity by naming `argument` and the row, for which it waits for the stream; while a CUDA
// graph is recorded, which forbids that, nothing is refused.
UnitRows unit_rows(const Context& context, const MatrixView& matrix, const char* argument);

// The same without the unit vectors: only norms, only to refuse.
void check_finite(const Context& context, const MatrixView& matrix, const char* argument);

// tile[q, k] = cosine of unit rows queries[q] and keys[k], both of `width` adjacent elements; rows of the tile are
// `stride` apart (a multiple of 8). Products on tensor cores, float32 sums.
void score_tile(const Context& context, const __half* queries, int64_t query_count, const __half* keys,
                int64_t key_count, int64_t width, __half* tile, int64_t stride);

}  // namespace salt::cuda
