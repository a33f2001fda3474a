// Lower bounds of what a score must reach to be chosen, from approximate scores, by one warp: how a query prunes while
// tiles stream by. A bound of some of the keys is one of all keys, so whatever lies below it by more than the scores'
// error is out for good. A bound need not be tight; one that is above the truth would lose keys.
#pragma once

#include "survivors.cuh"

namespace salt::cuda {

// sparsemax: tau solves sum(max(0, s - tau)) = temperature. Newton's iteration on that convex, falling function
// approaches tau from below, so that it may end at any step; a subset's tau never exceeds that of all keys.
struct SparsemaxBound {
  double temperature;
  float margin;  // what must be subtracted, see preselection_margin

  // At least `start`, which is such a bound itself or -inf.
  __device__ __forceinline__ float operator()(const Seen& seen, float start) const {
    if (start == -INFINITY) {
      // The lanes' highest scores are a subset that costs no further pass and saves several.
      float highest = -INFINITY;
      seen.for_each([&](float score) { highest = fmaxf(highest, score); });
      start = rise([&](auto visit) { visit(highest); }, start);
    }
    return rise([&](auto visit) { seen.for_each(visit); }, start);
  }

 private:
  template <class ForEach>
  __device__ __forceinline__ float rise(ForEach for_each, float tau) const {
    constexpr int kRounds = 16;
    int above = 0x7fffffff;
    for (int round = 0; round < kRounds; ++round) {
      float sum = 0;
      int count = 0;
      for_each([&](float score) {
        const bool counts = score > tau;
        sum += counts ? score : 0.0f;
        count += static_cast<int>(counts);
      });
      count = __reduce_add_sync(kAllLanes, count);
      if (count == 0 || count >= above) {
        break;
      }
      above = count;
      const double total = warp_reduce(static_cast<double>(sum), Sum{});
      tau = fmaxf(tau, static_cast<float>((total - temperature) / count));
    }
    return tau;
  }
};

// The k highest: bisection for a score that at least k keys reach.
struct TopkBound {
  int k;
  float margin;

  __device__ float operator()(const Seen& seen, float start) const {
    constexpr int kRounds = 14;  // steps of 2^-13: finer than the scores' own error
    constexpr float kHighest = 1.0625f;
    const auto reached = [&](float bound) {
      int count = 0;
      seen.for_each([&](float score) { count += static_cast<int>(score >= bound); });
      return __reduce_add_sync(kAllLanes, count);
    };
    float low = fmaxf(start, -kHighest);
    if (reached(low) < k) {
      return start;
    }
    float high = kHighest;
    for (int round = 0; round < kRounds; ++round) {
      const float middle = 0.5f * (low + high);
      const int count = reached(middle);
      (count >= k ? low : high) = middle;
      if (count >= k && count <= k + k / 8) {
        break;
      }
    }
    return low;
  }
};

}  // namespace salt::cuda
