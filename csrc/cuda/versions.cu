// What this library was compiled and loaded with.
#include <cublas_v2.h>

// Versions as {major, minor}: the CUDA that compiled this library, and the cuBLAS that it was loaded with.
extern "C" __attribute__((visibility("default"))) void salt_cuda_versions(int cuda[2], int cublas[2]) {
  cuda[0] = CUDART_VERSION / 1000;
  cuda[1] = CUDART_VERSION % 1000 / 10;
  const libraryPropertyType parts[2] = {MAJOR_VERSION, MINOR_VERSION};
  for (int i = 0; i < 2; ++i) {
    if (cublasGetProperty(parts[i], &cublas[i]) != CUBLAS_STATUS_SUCCESS) cublas[i] = -1;
  }
}
