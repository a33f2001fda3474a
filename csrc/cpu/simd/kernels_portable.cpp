// Baseline: what every supported CPU runs (x86-64-v2, aarch64). 16-byte vectors, no fused multiply-add assumed.
#define SALT_VECTOR_BYTES 16
#define SALT_GEMM_ROWS 6
#define SALT_KERNELS kernels_portable
#define SALT_ISA "portable"
#include "generic.inl.h"
