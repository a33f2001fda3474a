// cosine_topk: the k most similar keys of every query.
//
// Formula       the k largest of cos(queries[q], keys[.]), descending
// Shapes        queries [Q,D], keys [K,D] -> values [Q,k], indices [Q,k]
// Dtypes        queries and keys alike: float32, float64, float16, bfloat16; values as the inputs; indices int64
// Accumulator   products in float32 (float64 for float64 inputs), norms in float64;
//               error of a cosine <= (D + 4) * eps / 2 of the accumulator, which near ties may change ranks;
//               CUDA ranks and rounds float64 products
// Ties          equal similarities rank by ascending index
// Zero vectors  a key of norm 0 is never chosen and a query of norm 0 chooses none: such slots hold index -1 and
//               value -inf
// NaN           a non-finite element is an error; so is k outside 1..K
// Empty         Q = 0 gives [0,k]
// Memory        O(block + k) beyond the output; with AVX512-VNNI also a byte per element of keys, where that is at most
//               48 MiB: eight-bit products then tell which keys float32 need not score, the same result
#pragma once

#include "tensors.h"

namespace salt {

inline void validate_cosine_topk(const Tensor& queries, const Tensor& keys, int64_t k) {
  check_pair(queries, "queries", keys, "keys");
  SALT_CHECK(k >= 1 && k <= keys.size(0), "k: found ", k, ", expected 1 to ", keys.size(0), " (the rows of keys)");
}

}  // namespace salt
