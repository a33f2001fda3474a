// How many threads a call is worth: waking a team costs about as much as a hundred thousand multiply-adds.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace salt {

// For `operations` multiply-adds in all. At most what torch.set_num_threads allows; results never depend on it.
inline int threads_for(double operations) {
  constexpr double kWorthAThread = 2e5;
  const double wanted = 1 + operations / kWorthAThread;
  return static_cast<int>(std::min<double>(wanted, omp_get_max_threads()));
}

}  // namespace salt
