// What lstsq_weights refuses, found on the device.
#pragma once

#include "../../common/views.h"
#include "block.cuh"
#include "elements.cuh"
#include "findings.cuh"

namespace salt::cuda {

constexpr int kCheckThreads = 128;

// The lowest number of each kind counts.
struct RowFindings {
  long long bad_anchor;  // a row of the anchors that is used and not finite
  long long bad_weight;  // an entry whose sample weight is negative or not finite, and its row
  long long bad_weight_row;
  long long zero_row;  // a row with sample weights that are all zero
  long long longest;   // entries of the longest row
};

__global__ void start_findings(RowFindings* findings) {
  *findings = {kNothingFound, kNothingFound, kNothingFound, kNothingFound, 0};
}

// One warp per row. used[i]: whether some row has anchor i.
__global__ void __launch_bounds__(kCheckThreads)
    look_at_rows(CsrView csr, const double* sample_weights, unsigned char* used, RowFindings* findings) {
  long long longest = 0;
  for (int64_t row = warp_of_grid(); row < csr.rows; row += warps_of_grid()) {
    const int64_t end = csr.crow[row + 1];
    int positive = 0;
    for (int64_t e = csr.crow[row] + lane_index(); e < end; e += kWarpSize) {
      used[csr.col[e]] = 1;
      if (sample_weights != nullptr) {
        const double weight = sample_weights[e];
        positive |= static_cast<int>(weight > 0);
        if (!(isfinite(weight) && weight >= 0)) {
          atomicMin(&findings->bad_weight, static_cast<long long>(e));
          atomicMin(&findings->bad_weight_row, static_cast<long long>(row));
        }
      }
    }
    if (!__any_sync(kAllLanes, positive) && lane_index() == 0 && sample_weights != nullptr && csr.size(row) > 0) {
      atomicMin(&findings->zero_row, static_cast<long long>(row));
    }
    longest = max(longest, static_cast<long long>(csr.size(row)));
  }
  if (lane_index() == 0 && longest > 0) {
    atomicMax(&findings->longest, longest);
  }
}

// One warp per row.
template <class Element>
__global__ void __launch_bounds__(kCheckThreads)
    look_at_used_rows(MatrixView matrix, const unsigned char* used, RowFindings* findings) {
  for (int64_t row = warp_of_grid(); row < matrix.rows; row += warps_of_grid()) {
    if (used[row] != 0) {
      const Element* values = static_cast<const Element*>(matrix.row(row));
      int finite = 1;
      for (int64_t d = lane_index(); d < matrix.cols; d += kWarpSize) {
        finite &= static_cast<int>(isfinite(to_double(values[d])));
      }
      if (!__all_sync(kAllLanes, finite) && lane_index() == 0) {
        atomicMin(&findings->bad_anchor, static_cast<long long>(row));
      }
    }
  }
}

}  // namespace salt::cuda
