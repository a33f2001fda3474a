// The four element types on the device: conversion to and from arithmetic types, and the choice of one at run time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "../../common/dtype.h"

namespace salt::cuda {

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(double value) { return static_cast<float>(value); }
__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

__device__ __forceinline__ double to_double(float value) { return value; }
__device__ __forceinline__ double to_double(double value) { return value; }
__device__ __forceinline__ double to_double(__half value) { return __half2float(value); }
__device__ __forceinline__ double to_double(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class Accumulator, class Element>
__device__ __forceinline__ Accumulator to_accumulator(Element value) {
  if constexpr (sizeof(Accumulator) == 8) {
    return to_double(value);
  } else {
    return to_float(value);
  }
}

// One rounding, to nearest even.
template <class Element>
__device__ __forceinline__ Element round_to(double value) {
  if constexpr (sizeof(Element) == 8) {
    return value;
  } else if constexpr (sizeof(Element) == 4) {
    return static_cast<float>(value);
  } else if constexpr (std::is_same_v<Element, __half>) {
    return __double2half(value);
  } else {
    return __double2bfloat16(value);
  }
}

template <class Element>
__device__ __forceinline__ Element round_to(float value) {
  if constexpr (sizeof(Element) >= 4) {
    return value;
  } else if constexpr (std::is_same_v<Element, __half>) {
    return __float2half_rn(value);
  } else {
    return __float2bfloat16_rn(value);
  }
}

// Calls body.operator()<Element>() for the element type that `dtype` names.
template <class Body>
void with_element(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body.template operator()<float>();
    case DType::kFloat64:
      return body.template operator()<double>();
    case DType::kFloat16:
      return body.template operator()<__half>();
    case DType::kBFloat16:
      return body.template operator()<__nv_bfloat16>();
  }
}

}  // namespace salt::cuda
