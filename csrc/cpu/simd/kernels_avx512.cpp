// AVX-512 (F, BW, DQ, VL): 64-byte vectors, 32 registers, of which 12 x 2 accumulate.
#if defined(__x86_64__)
#define SALT_VECTOR_BYTES 64
#define SALT_GEMM_ROWS 12
#define SALT_KERNELS kernels_avx512
#define SALT_ISA "avx512"
#include "generic.inl.h"
#endif
