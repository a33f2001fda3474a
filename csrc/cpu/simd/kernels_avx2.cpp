// AVX2 with FMA and F16C: 32-byte vectors, 16 registers, of which 6 x 2 accumulate.
#if defined(__x86_64__)
#define SALT_VECTOR_BYTES 32
#define SALT_GEMM_ROWS 6
#define SALT_KERNELS kernels_avx2
#define SALT_ISA "avx2"
#include "generic.inl.h"
#endif
