// transfer: the embedding of every new token, from its neighbours among the anchors (Lee et al. 2025, section 3).
//
// Formula       N, p = cosine_sparsemax(aux_new, aux_shared, temperature)
//               w    = lstsq_weights(N, donor_new, donor_shared, ridge, intercept, rcond), with p as sample weights
//                      where intercept is set, else unweighted (the paper's letter)
//               out  = csr_matmul(N, w, source_shared)
// Shapes        aux_new [Q,D], aux_shared [K,D], donor_new [Q,h], donor_shared [K,h], source_shared [K,H] -> [Q,H]
// Dtypes        the aux pair alike, the donor pair alike, source_shared on its own: each float32, float64, float16 or
//               bfloat16; the result has the dtype of source_shared
// Accumulator   as the three ops; between them the support, p and w stay float64, so no dtype narrows them
// Empty         rows without support (zero auxiliary vector, no usable key) are zero; Q = 0 and K = 0 are legal
// NaN           a non-finite element of any input is an error
// Memory        O(threads * block), half a million entries of supports, and a few numbers per row of the inputs
#pragma once

#include "lstsq_weights.h"
#include "tensors.h"

namespace salt {

inline void validate_transfer(const Tensor& aux_new, const Tensor& aux_shared, const Tensor& donor_new,
                              const Tensor& donor_shared, const Tensor& source_shared, double temperature, double ridge,
                              std::optional<double> rcond) {
  check_pair(aux_new, "aux_new", aux_shared, "aux_shared");
  check_pair(donor_new, "donor_new", donor_shared, "donor_shared");
  check_matrix(source_shared, "source_shared");
  check_rows(aux_new, "aux_new", donor_new, "donor_new");
  check_rows(aux_shared, "aux_shared", donor_shared, "donor_shared");
  check_rows(aux_shared, "aux_shared", source_shared, "source_shared");
  check_device(aux_new, "aux_new", donor_new, "donor_new");
  check_device(aux_new, "aux_new", source_shared, "source_shared");
  check_option(std::isfinite(temperature) && temperature > 0, "temperature", temperature, "a positive finite number");
  validate_ridge_and_rcond(ridge, rcond);
}

}  // namespace salt
