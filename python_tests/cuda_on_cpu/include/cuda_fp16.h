// float16 by the compiler's own type: the conversions are IEEE's.
#pragma once

#include <cstdint>
#include <cstring>

namespace emulator {
// New device memory and the shared memory of a new block are full of ones, which no arithmetic makes of written
// numbers.
extern bool read_before_written;
}  // namespace emulator

struct __half {
  _Float16 value;
  __half() = default;
  explicit __half(_Float16 v) : value(v) {}
};
static_assert(sizeof(__half) == 2);

inline float __half2float(__half x) {
  uint16_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  emulator::read_before_written |= bits == 0xffff;
  return static_cast<float>(x.value);
}
inline __half __float2half_rn(float x) { return __half(static_cast<_Float16>(x)); }
inline __half __double2half(double x) { return __half(static_cast<_Float16>(x)); }

struct alignas(4) __half2 {
  __half x, y;
};
inline float __low2float(__half2 pair) { return __half2float(pair.x); }
inline float __high2float(__half2 pair) { return __half2float(pair.y); }
// Of a number and a NaN the number.
inline __half2 __hmax2(__half2 a, __half2 b) {
  const auto larger = [](__half p, __half q) { return p.value != p.value || p.value < q.value ? q : p; };
  return {larger(a.x, b.x), larger(a.y, b.y)};
}
