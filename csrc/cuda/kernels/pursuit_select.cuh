// The candidates of a pass: of each tile of approximate cosines, one warp per query keeps the atoms that can still be
// the best. Almost all of a tile is only read and compared: 2 bytes and four operations per cosine.
//
// With c the approximate cosine and e its error, an atom's correlation lies in (|c| -+ e) * |atom| * |residual|. Here
// all is relative to |residual| * the largest |atom|, in float32: `kHair` is more than its roundings.
#pragma once

#include "pursuit.cuh"

namespace salt::cuda {

constexpr int kSelectThreads = 128;
constexpr int kScoresPerLoad = 8;
constexpr int kScoresPerGroup = kScoresPerLoad * kWarpSize;
constexpr int kGroupsPerLook = 4;
constexpr float kHair = 1.0f - 0x1p-19f;
// Relative atom norms below it are rounded up to it: right for upper bounds; such atoms give no lower bounds.
constexpr float kSmallestScale = 1e-30f;
static_assert(kScoresPerGroup == kCandidates);

struct alignas(16) Scores {
  __half values[kScoresPerLoad];
};
struct alignas(16) Scales {
  float values[kScoresPerLoad];
};

// One warp's search through one row of a tile.
template <class Element, bool kAligned>
class CandidateSearch {
 public:
  __device__ CandidateSearch(const Pursuits& p, int64_t query, const float* scale, float error)
      : p_(p),
        query_(query),
        buffer_(p.candidates + query * kCandidates),
        scale_(scale),
        error_(error),
        lower_(p.states[query].lower),
        count_(p.states[query].candidates),
        best_(p.states[query].best) {}

  // Scores of the `count` atoms from `first` on.
  __device__ void look_at(const __half* scores, int64_t first, int64_t count) {
    const int64_t last = (count - 1) / kScoresPerLoad * kScoresPerLoad;
    for (int64_t begin = 0; begin < count; begin += kGroupsPerLook * kScoresPerGroup) {
      float most = -1;
#pragma unroll
      for (int group = 0; group < kGroupsPerLook; ++group) {
        // Beyond the end, the last ones again: no branch between the loads.
        const int64_t at = min(begin + group * kScoresPerGroup + lane_index() * kScoresPerLoad, last);
        const Scores loaded = *reinterpret_cast<const Scores*>(scores + at);
        const Scales scales = *reinterpret_cast<const Scales*>(scale_ + first + at);
#pragma unroll
        for (int i = 0; i < kScoresPerLoad; ++i) {
          most = fmaxf(most, upper(loaded.values[i], scales.values[i]));
        }
      }
      if (__any_sync(kAllLanes, most >= lower_)) {
        const int64_t end = min(count, begin + kGroupsPerLook * kScoresPerGroup);
        for (int64_t group = begin; group < end; group += kScoresPerGroup) {
          collect(scores + group, first + group, end - group);
        }
      }
    }
  }

  __device__ void store() const {
    if (lane_index() == 0) {
      PursuitState& state = p_.states[query_];
      state.lower = lower_;
      state.candidates = count_;
      state.best = best_;
    }
  }

 private:
  __device__ __forceinline__ float upper(__half score, float scale) const {
    return (fabsf(__half2float(score)) + error_) * scale;
  }

  // The candidates among at most kScoresPerGroup atoms from `first` on.
  __device__ void collect(const __half* scores, int64_t first, int64_t count) {
    const int64_t own = lane_index() * kScoresPerLoad;
    float uppers[kScoresPerLoad];
    unsigned kept = 0;
    float reached = 0;
    if (own < count) {
      const Scores loaded = *reinterpret_cast<const Scores*>(scores + own);
      const Scales scales = *reinterpret_cast<const Scales*>(scale_ + first + own);
#pragma unroll
      for (int i = 0; i < kScoresPerLoad; ++i) {
        const float scale = scales.values[i];
        uppers[i] = upper(loaded.values[i], scale);
        // What lies beyond the last atom has scale 0, as an atom that is zero.
        if (scale > 0 && uppers[i] >= lower_ && !p_.is_taken(query_, first + own + i)) {
          kept |= 1u << i;
          reached = fmaxf(reached, scale > kSmallestScale ? uppers[i] * kHair - 2 * error_ * scale : 0.0f);
        }
      }
    }
    lower_ = fmaxf(lower_, warp_reduce(reached, Max{}));
    kept = above_lower(kept, uppers);
    if (count_ + total(kept) > kCandidates) {
      drop_the_beaten();
      if (count_ + total(kept) > kCandidates) {
        score_all();
        kept = above_lower(kept, uppers);
      }
    }
    const int mine = __popc(kept);
    int place = count_ + warp_exclusive_scan(mine);
    count_ += total(kept);
#pragma unroll
    for (int i = 0; i < kScoresPerLoad; ++i) {
      if ((kept >> i & 1u) != 0) {
        buffer_[place++] = {first + own + i, uppers[i]};
      }
    }
    __syncwarp();
  }

  __device__ __forceinline__ int total(unsigned kept) const { return warp_reduce(__popc(kept), Sum{}); }

  __device__ __forceinline__ unsigned above_lower(unsigned kept, const float (&uppers)[kScoresPerLoad]) const {
#pragma unroll
    for (int i = 0; i < kScoresPerLoad; ++i) {
      if ((kept >> i & 1u) != 0 && uppers[i] < lower_) {
        kept &= ~(1u << i);
      }
    }
    return kept;
  }

  __device__ void drop_the_beaten() {
    int left = 0;
    for (int begin = 0; begin < count_; begin += kWarpSize) {
      const int index = begin + lane_index();
      const Candidate candidate = index < count_ ? buffer_[index] : Candidate{-1, -1.0f};
      const bool kept = candidate.upper >= lower_;  // lower_ is never negative
      const unsigned all = __ballot_sync(kAllLanes, kept);
      if (kept) {
        buffer_[left + __popc(all & ((1u << lane_index()) - 1))] = candidate;
      }
      left += __popc(all);
      __syncwarp();
    }
    count_ = left;
  }

  // Scores the whole buffer in float64 and empties it: of these, only the best can matter.
  __device__ void score_all() {
    for (int i = 0; i < count_; ++i) {
      const int64_t atom = buffer_[i].atom;
      best_.offer(warp_correlation<Element, kAligned>(p_, query_, atom), atom);
    }
    count_ = 0;
    const double relative = best_.correlation / p_.states[query_].norm / *p_.largest_norm;
    lower_ = fmaxf(lower_, static_cast<float>(relative) * kHair);
    __syncwarp();
  }

  const Pursuits& p_;
  const int64_t query_;
  Candidate* const buffer_;
  const float* const scale_;
  const float error_;
  float lower_;
  int count_;
  BestAtom best_;
};

// tile[slot, i]: approximate cosine of the residual of query open[slot] and atom first + i. `scale`: norms of the atoms
// relative to the largest, up to a multiple of 8, zeros beyond the last.
template <class Element, bool kAligned>
__global__ void __launch_bounds__(kSelectThreads)
    select_candidates(Pursuits p, int64_t slots, const __half* tile, int64_t stride, int64_t first, int64_t count,
                      const float* scale, float error) {
  const int64_t slot = warp_of_grid();
  if (slot >= slots || p.states[p.open[slot]].done) {
    return;
  }
  CandidateSearch<Element, kAligned> search(p, p.open[slot], scale, error);
  search.look_at(tile + slot * stride, first, count);
  search.store();
}

}  // namespace salt::cuda
