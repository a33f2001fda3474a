// The threshold of sparsemax (Martins & Astudillo 2016): the tau that solves sum(max(0, s - tau)) = T.
//
// It comes from Michelot's iteration in float64, which needs no sort: average the kept scores, drop those at or below,
// repeat; it ends after at most as many rounds as scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "arithmetic.h"

namespace salt {

// The tau of non-empty `scores`, where `tau` is known not to exceed it.
template <class T>
double sparsemax_threshold(const Kernels& kernels, const T* scores, size_t size, double temperature,
                           double tau = -std::numeric_limits<double>::infinity()) {
  int64_t above = static_cast<int64_t>(size) + 1;
  for (;;) {
    int64_t count;
    const double sum = (kernels.*Arithmetic<T>::sum_above)(scores, static_cast<int64_t>(size), tau, &count);
    if (count == 0) {  // the temperature is below the scores' own rounding: the highest scores share the weight
      return std::nextafter(static_cast<double>(*std::max_element(scores, scores + size)),
                            -std::numeric_limits<double>::infinity());
    }
    if (count == above) {
      return tau;
    }
    above = count;
    tau = std::max(tau, (sum - temperature) / static_cast<double>(count));
  }
}

// The cut of CoarseCandidates for the support of sparsemax. tau grows with every score and with every key that is
// added: that of lower bounds of some of the scores never exceeds the true one.
class SparsemaxCut {
 public:
  SparsemaxCut(const Kernels& kernels, double temperature) : kernels_(kernels), temperature_(temperature) {}

  double operator()(const double* lower, size_t size, double before) const {
    return sparsemax_threshold(kernels_, lower, size, temperature_, before);
  }

 private:
  const Kernels& kernels_;
  const double temperature_;
};

}  // namespace salt
