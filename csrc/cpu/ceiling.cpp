// The ceiling that benchmarks hold the kernels to: only code compiled for the same instruction set, in the same
// process, meets the clock and the vector units that they meet.
#include <cstdint>

#include "simd/kernels.h"

// Runs on the calling thread with the kernel table in use; returns the multiply-adds done.
extern "C" __attribute__((visibility("default"))) int64_t salt_multiply_adds(int float64, int64_t rounds) {
  if (float64 != 0) {
    double last;
    return salt::kernels().multiply_adds_f64(rounds, &last);
  }
  float last;
  return salt::kernels().multiply_adds_f32(rounds, &last);
}
