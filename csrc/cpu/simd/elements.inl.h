// Element types: widening and narrowing, as loops that the compiler vectorises. Part of generic.inl.h: included once
// per instruction set, inside its anonymous namespace.
#pragma once

#include <cstdint>

#include "../../common/dtype.h"

namespace salt {
namespace {

inline uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

inline float widen_bf16(uint16_t value) { return float_of(uint32_t{value} << 16); }

// Multiplying by 2^112 moves float16's exponent to float32's and normalises subnormals, exactly.
inline float widen_f16(uint16_t value) {
  const uint32_t sign = uint32_t{value & 0x8000u} << 16;
  const uint32_t magnitude = uint32_t{value & 0x7fffu} << 13;
  const uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
  const uint32_t special = magnitude | 0x7f800000u;  // infinity and NaN keep their payload
  return float_of(sign | (magnitude >= (0x7c00u << 13) ? special : finite));
}

inline uint16_t narrow_bf16(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
}

inline uint16_t narrow_f16(float value) {
  const uint32_t bits = bits_of(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u);
  }
  if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
    return static_cast<uint16_t>(sign | 0x7c00u);
  }
  if (magnitude < 0x38800000u) {  // below float16's smallest normal: adding 0.5 aligns and rounds the mantissa
    return static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u));
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

inline uint16_t half_at(const void* in, int64_t i) {
  uint16_t value;
  __builtin_memcpy(&value, static_cast<const unsigned char*>(in) + 2 * i, 2);
  return value;
}

template <class T>
inline T scalar_at(const void* in, int64_t i) {
  T value;
  __builtin_memcpy(&value, static_cast<const unsigned char*>(in) + static_cast<int64_t>(sizeof(T)) * i, sizeof(T));
  return value;
}

// Calls use(i, element i as Wide) for every element: the type is decided once, outside the loop.
template <class Wide, class Use>
inline void for_each_widened(DType dtype, const void* in, int64_t n, Use use) {
  switch (dtype) {
    case DType::kFloat32:
      for (int64_t i = 0; i < n; ++i) use(i, static_cast<Wide>(scalar_at<float>(in, i)));
      return;
    case DType::kFloat64:
      for (int64_t i = 0; i < n; ++i) use(i, static_cast<Wide>(scalar_at<double>(in, i)));
      return;
    case DType::kFloat16:
      for (int64_t i = 0; i < n; ++i) use(i, static_cast<Wide>(widen_f16(half_at(in, i))));
      return;
    case DType::kBFloat16:
      for (int64_t i = 0; i < n; ++i) use(i, static_cast<Wide>(widen_bf16(half_at(in, i))));
      return;
  }
}

template <class T>
void widen(DType dtype, const void* in, int64_t n, T* out) {
  for_each_widened<T>(dtype, in, n, [out](int64_t i, T value) { out[i] = value; });
}

// float64 -> float16/bfloat16 in one rounding: the float32 in between is rounded to odd, which the second step undoes.
inline float to_odd(double value) {
  const float nearest = static_cast<float>(value);
  uint32_t bits = bits_of(nearest);
  const double error = static_cast<double>(nearest) - value;
  if (error != 0 && (bits & 1u) == 0 && (bits & 0x7f800000u) != 0x7f800000u) {
    bits += (error > 0) == ((bits >> 31) == 0) ? -1 : 1;
  }
  return float_of(bits);
}

inline float narrowable(float value) { return value; }
inline float narrowable(double value) { return to_odd(value); }

template <class T>
void narrow(DType dtype, const T* in, int64_t n, void* out) {
  unsigned char* bytes = static_cast<unsigned char*>(out);
  switch (dtype) {
    case DType::kFloat32:
      for (int64_t i = 0; i < n; ++i) {
        const float value = static_cast<float>(in[i]);
        __builtin_memcpy(bytes + 4 * i, &value, 4);
      }
      return;
    case DType::kFloat64:
      for (int64_t i = 0; i < n; ++i) {
        const double value = in[i];
        __builtin_memcpy(bytes + 8 * i, &value, 8);
      }
      return;
    case DType::kFloat16:
      for (int64_t i = 0; i < n; ++i) {
        const uint16_t value = narrow_f16(narrowable(in[i]));
        __builtin_memcpy(bytes + 2 * i, &value, 2);
      }
      return;
    case DType::kBFloat16:
      for (int64_t i = 0; i < n; ++i) {
        const uint16_t value = narrow_bf16(narrowable(in[i]));
        __builtin_memcpy(bytes + 2 * i, &value, 2);
      }
      return;
  }
}

}  // namespace
}  // namespace salt
