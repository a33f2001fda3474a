// omp: orthogonal matching pursuit, the sparse coder of tokensurgeon (Goddard & Fernandes Neto 2025; batch-OMP with
// progressive Cholesky: Rubinstein, Zibulevsky & Elad 2008).
//
// Formula       r = q; k times: choose the atom of largest |<r, atom>|, refit q on all chosen atoms by least squares,
//               r = q - fit. Atoms are taken as they are; normalise them first for the textbook's rule
// Shapes        queries [Q,D], atoms [K,D] -> indices [Q,k], weights [Q,k], in the order of choice
// Dtypes        queries and atoms alike: float32, float64, float16, bfloat16; weights as the inputs; indices int64
// Accumulator   correlations in float32 (float64 for float64 inputs); Cholesky, weights and residuals in float64
// Stops         at k atoms, at a residual norm <= tolerance * norm of the query, and where no atom is left that
//               correlates with the residual or lies outside the span of the chosen (relative distance <= 1e-6)
// Unused slots  index -1, weight 0
// Ties          the lower index
// NaN           a non-finite element is an error; so are k < 1 and a negative or non-finite tolerance
// Empty         Q = 0 gives [0,k]; K = 0 or D = 0 leave every slot unused
// Memory        O(threads * block * (D + k D)), never Q x K, never K x K; with AVX512-VNNI also a byte per element of
//               atoms, where that is at most 48 MiB: eight-bit products then tell which atoms cannot be the one that
//               float32 would choose, the same result
// CUDA          correlations are decided in float64; min(k, K, D) above 12,288 is an error
#pragma once

#include "tensors.h"

namespace salt {

inline void validate_omp(const Tensor& queries, const Tensor& atoms, int64_t k, double tolerance) {
  check_pair(queries, "queries", atoms, "atoms");
  SALT_CHECK(k >= 1, "k: found ", k, ", expected at least 1");
  check_option(std::isfinite(tolerance) && tolerance >= 0, "tolerance", tolerance, "a finite number of at least 0");
}

}  // namespace salt
