// bfloat16: the upper half of a float32, rounded to nearest even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) {
  const uint32_t wide = static_cast<uint32_t>(x.bits) << 16;
  float result;
  std::memcpy(&result, &wide, sizeof(result));
  return result;
}

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  if (std::isnan(x)) {
    return {0x7fff};
  }
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// Through a float32 that is rounded to odd, so that nothing is rounded twice.
inline __nv_bfloat16 __double2bfloat16(double x) {
  float narrow = static_cast<float>(x);
  if (std::isfinite(narrow) && static_cast<double>(narrow) != x) {
    uint32_t bits;
    if (std::abs(static_cast<double>(narrow)) > std::abs(x)) {
      narrow = std::nextafter(narrow, 0.0f);
    }
    std::memcpy(&bits, &narrow, sizeof(bits));
    bits |= 1u;
    std::memcpy(&narrow, &bits, sizeof(bits));
  }
  return __float2bfloat16_rn(narrow);
}
