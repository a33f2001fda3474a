// Vectors that begin at a cache line, so that no vector load of a packed panel straddles two.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace salt {

template <class T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  CacheLineAllocator() = default;
  template <class Other>
  CacheLineAllocator(const CacheLineAllocator<Other>&) {}

  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* p, size_t) { ::operator delete(p, kLine); }
  bool operator==(const CacheLineAllocator&) const = default;
};

template <class T>
using CacheAligned = std::vector<T, CacheLineAllocator<T>>;

}  // namespace salt
