// The element types that every op takes, as kernels see them: no torch header here, so that host and device code share
// it.
#pragma once

#include <cstdint>

// What kernels of both kinds call.
#ifdef __CUDACC__
#define SALT_HOST_DEVICE __host__ __device__
#else
#define SALT_HOST_DEVICE
#endif

namespace salt {

enum class DType : int32_t { kFloat32, kFloat64, kFloat16, kBFloat16 };

SALT_HOST_DEVICE constexpr int64_t element_size(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return 8;
    case DType::kFloat32:
      return 4;
    default:
      return 2;
  }
}

constexpr const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return "float64";
    case DType::kFloat32:
      return "float32";
    case DType::kFloat16:
      return "float16";
    default:
      return "bfloat16";
  }
}

// Machine epsilon that decides what counts as zero. float16 and bfloat16 count as float32, the narrowest arithmetic:
// with their own epsilon max(k, h) * eps passes 1 at a few hundred dimensions, and every singular value would be
// dropped.
constexpr double rank_epsilon(DType dtype) {
  return dtype == DType::kFloat64 ? 2.220446049250313e-16 : 1.1920928955078125e-07;
}

}  // namespace salt
