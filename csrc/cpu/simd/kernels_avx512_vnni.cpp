// AVX-512 with VNNI: the kernels of AVX-512, and products of eight-bit integers at four times their rate.
#if defined(__x86_64__)
#include <immintrin.h>

#define SALT_VECTOR_BYTES 64
#include "elements.inl.h"
#include "kernels.h"
#include "vectors.inl.h"

namespace salt {
namespace {

constexpr int64_t kRows = 12;

// Calls use(vector) for all elements of a row, with zeros past its end.
template <class Use>
inline void for_each_vector(DType dtype, const void* row, int64_t n, Use use) {
  const char* bytes = static_cast<const char*>(row);
  int64_t begin = 0;
  if (dtype == DType::kFloat32) {
    for (; begin + kF64Lanes <= n; begin += kF64Lanes) {
      use(load_wide(static_cast<const void*>(bytes + 4 * begin)));
    }
  }
  constexpr int64_t longest = 256;
  double chunk[longest];
  for (; begin < n; begin += longest) {
    const int64_t length = n - begin < longest ? n - begin : longest;
    widen<double>(dtype, bytes + begin * element_size(dtype), length, chunk);
    for (int64_t i = length; i % kF64Lanes != 0; ++i) {
      chunk[i] = 0;
    }
    for (int64_t i = 0; i < length; i += kF64Lanes) {
      use(load(chunk + i));
    }
  }
}

double largest(DType dtype, const void* row, int64_t n) {
  VecF64 highest = {};
  for_each_vector(dtype, row, n, [&highest](VecF64 x) {
    highest = x > highest ? x : highest;
    highest = -x > highest ? -x : highest;
  });
  double result = 0;
  for (int64_t lane = 0; lane < kF64Lanes; ++lane) {
    result = highest[lane] > result ? highest[lane] : result;
  }
  return result;
}

double quantise(DType dtype, const void* row, int64_t n, double factor, int8_t* out) {
  constexpr double to_whole = 0x1.8p52;  // beside it no fraction is left, and the number stands in the lowest bits
  VecF64 lost = {};
  for_each_vector(dtype, row, n, [&](VecF64 x) {
    const VecF64 scaled = x * factor;
    const VecF64 whole = scaled + to_whole;
    const VecF64 rest = scaled - (whole - to_whole);
    lost += rest * rest;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm512_maskz_cvtepi64_epi8(0xff, __m512i(whole)));
    out += kF64Lanes;
  });
  return sum_lanes(lost);
}

// The builtin would have GCC copy every accumulator around each product.
inline void multiply_add(__m512i& acc, __m512i keys, __m512i query) {
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(keys), "v"(query));
}

void gemm_s8(int64_t depth, const int8_t* a, const uint8_t* b, const int32_t* start, const int32_t* thresholds,
             bool either_sign, int32_t* c, int64_t ldc, uint32_t* marks, int64_t ld_marks, const uint8_t* ahead) {
  __m512i acc[kRows][2];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kRows; ++i) {
    acc[i][0] = acc[i][1] = _mm512_set1_epi32(start[i]);
  }
  for (int64_t d = 0; d < depth; d += 4) {
    __builtin_prefetch(ahead, 0, 2);
    __builtin_prefetch(ahead + 64, 0, 2);
    ahead += 128;
    const __m512i left = _mm512_loadu_si512(b);
    const __m512i right = _mm512_loadu_si512(b + 64);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kRows; ++i) {
      int32_t four;
      __builtin_memcpy(&four, a + 4 * i, 4);
      const __m512i query = _mm512_set1_epi32(four);
      multiply_add(acc[i][0], left, query);
      multiply_add(acc[i][1], right, query);
    }
    a += 4 * kRows;
    b += 128;
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < kRows; ++i) {
    const __m512i above = _mm512_set1_epi32(thresholds[i]);
    uint32_t bits = _mm512_cmpgt_epi32_mask(acc[i][0], above) |
                    static_cast<uint32_t>(_mm512_cmpgt_epi32_mask(acc[i][1], above)) << 16;
    if (either_sign) {
      const __m512i below = _mm512_sub_epi32(_mm512_setzero_si512(), above);
      bits |= _mm512_cmplt_epi32_mask(acc[i][0], below) |
              static_cast<uint32_t>(_mm512_cmplt_epi32_mask(acc[i][1], below)) << 16;
    }
    marks[i * ld_marks] = bits;
    if (bits != 0) {
      _mm512_storeu_si512(c + i * ldc, acc[i][0]);
      _mm512_storeu_si512(c + i * ldc + 16, acc[i][1]);
    }
  }
}

}  // namespace

Kernels with_avx512_vnni(Kernels table) {
  table.isa = "avx512_vnni";
  table.s8 = {kRows, 2 * 64 / 4};
  table.largest = largest;
  table.quantise = quantise;
  table.gemm_s8 = gemm_s8;
  return table;
}

}  // namespace salt
#endif
