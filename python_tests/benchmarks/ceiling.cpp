// What a core can multiply and add at most: chains of multiply-adds that need no memory. ceilings.py compiles this for
// each instruction set (VECTOR_BYTES: the width of its vectors) and loads it into the process that it measures, whose
// clock and vector units it meets.
#include <cstdint>

namespace {

// Twelve chains hide the latency of two units; each step depends on the one before, so nothing can be left out.
// Returns how many elements were multiplied and added; `last` keeps the results alive.
template <class T>
int64_t multiply_adds(int64_t rounds, T* last) {
  typedef T Vec __attribute__((vector_size(VECTOR_BYTES)));
  constexpr int64_t chains = 12;
  Vec acc[chains];
#pragma GCC unroll 12
  for (int64_t i = 0; i < chains; ++i) {
    acc[i] = Vec{} + static_cast<T>(rounds + i);  // of no value that the compiler could know
  }
  const Vec factor = Vec{} + T{0.5};
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int64_t i = 0; i < chains; ++i) {
      acc[i] = acc[i] * factor + factor;
    }
  }
  Vec sum = {};
#pragma GCC unroll 12
  for (int64_t i = 0; i < chains; ++i) {
    sum += acc[i];
  }
  *last = sum[0];
  return rounds * chains * (VECTOR_BYTES / static_cast<int64_t>(sizeof(T)));
}

}  // namespace

extern "C" int64_t multiply_adds_f32(int64_t rounds, float* last) { return multiply_adds(rounds, last); }
extern "C" int64_t multiply_adds_f64(int64_t rounds, double* last) { return multiply_adds(rounds, last); }
