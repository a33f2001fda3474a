// The CUDA library's place in torch's dispatcher. No kernel is registered yet, so an operator that is given a CUDA
// tensor raises torch's own NotImplementedError.
#include <cublas_v2.h>
#include <cusolverDn.h>
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, library) { (void)library; }

// Versions as {major, minor}: the CUDA that compiled this library, and the cuBLAS and cuSOLVER that it was loaded with.
extern "C" __attribute__((visibility("default"))) void salt_cuda_versions(int cuda[2], int cublas[2], int cusolver[2]) {
  cuda[0] = CUDART_VERSION / 1000;
  cuda[1] = CUDART_VERSION % 1000 / 10;
  const libraryPropertyType parts[2] = {MAJOR_VERSION, MINOR_VERSION};
  for (int i = 0; i < 2; ++i) {
    if (cublasGetProperty(parts[i], &cublas[i]) != CUBLAS_STATUS_SUCCESS) cublas[i] = -1;
    if (cusolverGetProperty(parts[i], &cusolver[i]) != CUSOLVER_STATUS_SUCCESS) cusolver[i] = -1;
  }
}
