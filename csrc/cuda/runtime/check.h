// Every call of CUDA and cuBLAS goes through these: a failure names the call, the place and the reason.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <sstream>
#include <stdexcept>

namespace salt::cuda {

[[noreturn]] inline void call_failed(const char* reason, int code, const char* call, const char* file, int line) {
  std::ostringstream message;
  message << reason << " (" << code << ") from " << call << " at " << file << ":" << line;
  throw std::runtime_error(message.str());
}

inline void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status != cudaSuccess) {
    call_failed(cudaGetErrorString(status), static_cast<int>(status), call, file, line);
  }
}

inline void check(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    call_failed(cublasGetStatusString(status), static_cast<int>(status), call, file, line);
  }
}

}  // namespace salt::cuda

#define SALT_CALL(call) ::salt::cuda::check((call), #call, __FILE__, __LINE__)
