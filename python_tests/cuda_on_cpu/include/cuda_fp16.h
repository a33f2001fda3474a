// float16 by the compiler's own type: the conversions are IEEE's.
#pragma once

struct __half {
  _Float16 value;
  __half() = default;
  explicit __half(_Float16 v) : value(v) {}
};
static_assert(sizeof(__half) == 2);

inline float __half2float(__half x) { return static_cast<float>(x.value); }
inline __half __float2half_rn(float x) { return __half(static_cast<_Float16>(x)); }
inline __half __double2half(double x) { return __half(static_cast<_Float16>(x)); }
