// A matrix seen as directions: what cosine similarity needs to know about each row before any product is formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/views.h"
#include "prefetch.h"

namespace salt {

struct Directions {
  MatrixView matrix;
  std::vector<int64_t> valid;        // rows of non-zero norm, ascending
  std::vector<double> inverse_norm;  // of each valid row, in the order of `valid`

  int64_t size() const { return static_cast<int64_t>(valid.size()); }

  // See prefetch.h.
  void prefetch(int64_t index) const { prefetch_row(matrix, valid[static_cast<size_t>(index)]); }

  // The valid rows begin + index[.].
  Directions subset(int64_t begin, const std::vector<int64_t>& index) const {
    Directions part{matrix, {}, {}};
    for (const int64_t i : index) {
      part.valid.push_back(valid[static_cast<size_t>(begin + i)]);
      part.inverse_norm.push_back(inverse_norm[static_cast<size_t>(begin + i)]);
    }
    return part;
  }
};

// One pass over `matrix`: Euclidean norms in float64, scaled by the largest element so that no square over- or
// underflows. Throws an input error that names `argument` at the first non-finite row.
Directions unit_directions(const MatrixView& matrix, const char* argument);

// Multiply-adds of all products of two sides: what decides how many threads a call is worth.
inline double product_size(const Directions& queries, const Directions& keys) {
  return static_cast<double>(queries.size()) * static_cast<double>(keys.size()) *
         static_cast<double>(queries.matrix.cols);
}

// Every row as it is (factor 1): for inner products instead of cosines. The same check for finite values.
Directions raw_directions(const MatrixView& matrix, const char* argument);

// Throws an input error that names `argument` and its first row that holds NaN or infinity; with `used`, only rows
// whose entry is not 0 are looked at.
void check_finite(const MatrixView& matrix, const char* argument);
void check_finite_rows(const MatrixView& matrix, const char* argument, const std::vector<char>& used);

}  // namespace salt
