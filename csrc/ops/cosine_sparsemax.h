// cosine_sparsemax: which anchors support a token, and with which weights (Lee et al. 2025, section 3; sparsemax:
// Martins & Astudillo 2016).
//
// Formula       values[q, .] = sparsemax(cos(queries[q], keys[.]) / temperature), its zeros left out
// Shapes        queries [Q,D], keys [K,D] -> crow_indices [Q+1], col_indices [nnz], values [nnz]
// Dtypes        queries and keys alike: float32, float64, float16, bfloat16; indices int64; values as the inputs
// Accumulator   float64: products in float32 only pre-select (with a proven error bound, (D + 4) * 2^-24), and every
//               survivor is scored again in float64, so that the support is the exact one but for float64 rounding;
//               with AVX512-VNNI eight-bit products pre-select, whose error is measured row by row: the same result
// Order         columns ascend within a row; weights that round to zero in the values' dtype are left out
// Ties          equal similarities get equal weights
// Zero vectors  a query of norm 0 has an empty row; a key of norm 0 is never chosen
// NaN           a non-finite element is an error; so is a temperature that is not positive and finite
// Empty         Q = 0 gives crow_indices [0]; K = 0 or D = 0 give empty rows
// Memory        O(block) beyond the output and one number per row of the inputs: Q x K is never stored; with
//               AVX512-VNNI also a byte per element of keys, where that is at most 48 MiB
#pragma once

#include "tensors.h"

namespace salt {

inline void validate_cosine_sparsemax(const Tensor& queries, const Tensor& keys, double temperature) {
  check_pair(queries, "queries", keys, "keys");
  check_option(std::isfinite(temperature) && temperature > 0, "temperature", temperature, "a positive finite number");
}

}  // namespace salt
