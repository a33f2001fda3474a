// Double-precision matrix products on tensor cores: one 16 x 8 x 16 step per call.
//
// The wide shape is what reaches the rate of sm_90's float64 tensor cores; 8 x 8 x 4, the only one that sm_80 has,
// reaches about half of it there.
#pragma once

#include "block.cuh"

namespace salt::cuda {

// c += a b for a [16, 16], b [16, 8], spread over the warp: with group = lane / 4 and member = lane % 4,
//   upper[s] = a[group, 4 s + member]    lower[s] = a[group + 8, 4 s + member]    b[s] = b[4 s + member, group]
//   c[0], c[1] = c[group, 2 member + {0, 1}]    c[2], c[3] = c[group + 8, 2 member + {0, 1}]
// Any permutation of the inner dimension gives the same product, as long as a and b share it.
__device__ __forceinline__ void multiply_add(double (&c)[4], const double (&upper)[4], const double (&lower)[4],
                                             const double (&b)[4]) {
#ifndef __CUDACC__
  emulated_dmma_16x8x16(c, upper, lower, b);
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7, %8, %9, %10, %11}, "
      "{%12, %13, %14, %15}, {%0, %1, %2, %3};"
      : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
      : "d"(upper[0]), "d"(lower[0]), "d"(upper[1]), "d"(lower[1]), "d"(upper[2]), "d"(lower[2]), "d"(upper[3]),
        "d"(lower[3]), "d"(b[0]), "d"(b[1]), "d"(b[2]), "d"(b[3]));
#else
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+d"(c[0]), "+d"(c[1])
                 : "d"(upper[s]), "d"(b[s]));
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+d"(c[2]), "+d"(c[3])
                 : "d"(lower[s]), "d"(b[s]));
  }
#endif
}

}  // namespace salt::cuda
