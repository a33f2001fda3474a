// Solves rows of lstsq_weights on the device (see ops/lstsq_weights.h for the formula).
//
// The floor of W3 (100,000 rows of about 30 anchors of 768 float32 numbers): 9.2 GB of gathered anchors, 2 ms from
// device memory; 100,000 x 12 products of 16 x 8 x 768 on float64 tensor cores, 2 ms at 67 TFLOP/s.
#pragma once

#include "runtime/context.h"

namespace salt::cuda {

struct LstsqOptions {
  double ridge = 0;
  bool intercept = false;
  double rcond = -1;  // negative: max(k, h) * rank_epsilon
};

// weights[e], float64, one per entry of csr: row r's are those of queries.row(r). All pointers are the device's.
// sample_weights: one float64 number per entry, not negative and not all zero in a row, or nullptr for equal ones.
// longest: no row has more entries. Never waits for the stream.
void solve_rows(const Context& context, const CsrView& csr, int64_t longest, const MatrixView& queries,
                const MatrixView& anchors, const double* sample_weights, const LstsqOptions& options, double* weights);

}  // namespace salt::cuda
