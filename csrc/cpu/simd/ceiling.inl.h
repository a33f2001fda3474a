// What this core can multiply and add at most: chains of multiply-adds that need no memory. Part of generic.inl.h.
#pragma once

#include "vectors.inl.h"

namespace salt {
namespace {

// Twelve chains hide the latency of two units; each step depends on the one before, so nothing can be left out.
// Returns how many elements were multiplied and added; `last` keeps the results alive.
template <class T>
int64_t multiply_add_chains(int64_t rounds, T* last) {
  using Vec = typename VectorOf<T>::Vec;
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
  return rounds * chains * VectorOf<T>::lanes;
}

}  // namespace
}  // namespace salt
