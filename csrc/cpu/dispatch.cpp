// Picks the kernel table once, by what the CPU can run; SALT_CPU_ISA or salt_set_cpu_isa force another for tests.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "simd/kernels.h"

namespace salt {
namespace {

// nullptr where this CPU (or this build) cannot run `isa`.
const Kernels* runnable(const char* isa) {
  if (std::strcmp(isa, "portable") == 0) {
    return &kernels_portable();
  }
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (std::strcmp(isa, "avx2") == 0 && avx2) {
    return &kernels_avx2();
  }
  if (std::strcmp(isa, "avx512") == 0 && avx512) {
    return &kernels_avx512();
  }
  if (std::strcmp(isa, "avx512_vnni") == 0 && avx512 && __builtin_cpu_supports("avx512vnni")) {
    static const Kernels table = with_avx512_vnni(kernels_avx512());
    return &table;
  }
#endif
  return nullptr;
}

const Kernels* choose() {
  if (const char* forced = std::getenv("SALT_CPU_ISA")) {
    if (const Kernels* table = runnable(forced)) {
      return table;
    }
  }
  for (const char* isa : {"avx512_vnni", "avx512", "avx2"}) {
    if (const Kernels* table = runnable(isa)) {
      return table;
    }
  }
  return &kernels_portable();
}

std::atomic<const Kernels*>& current() {
  static std::atomic<const Kernels*> table{choose()};
  return table;
}

}  // namespace

const Kernels& kernels() { return *current().load(std::memory_order_relaxed); }

}  // namespace salt

#define SALT_EXPORT extern "C" __attribute__((visibility("default")))

// The instruction set in use: "portable", "avx2", "avx512" or "avx512_vnni".
SALT_EXPORT const char* salt_cpu_isa() { return salt::kernels().isa; }

// Forces an instruction set for the whole process; 0 on success, -1 where the name is unknown or this CPU cannot run
// it.
SALT_EXPORT int salt_set_cpu_isa(const char* isa) {
  const salt::Kernels* table = salt::runnable(isa);
  if (table == nullptr) {
    return -1;
  }
  salt::current().store(table, std::memory_order_relaxed);
  return 0;
}
