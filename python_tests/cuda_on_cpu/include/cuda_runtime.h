// Enough of CUDA to run csrc/cuda on a CPU: every thread of a block is a fiber, which gives way at barriers and warp
// operations only (see emulator.cpp). Compile the .cu files as C++ with this folder first among the include paths.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// Kernels use dynamic shared memory only, through shared_memory() of kernels/block.cuh; emulator.cpp defines the array.
#define __shared__

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct uint4 {
  unsigned x, y, z, w;
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719
};
using cudaStream_t = struct EmulatedStream*;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};
#define CUDART_VERSION 13000

namespace emulator {

// `name` is the kernel's address, by which it is known.
cudaError_t run(const void* name, const dim3& blocks, const dim3& threads, size_t shared_bytes,
                const std::function<void()>& kernel);
void block_barrier();
void warp_barrier();
// Leaves `size` bytes where the other lanes of the warp can read them, and waits until all have; slot(lane) reads.
void exchange(const void* value, size_t size);
const void* slot(int lane);

template <class T>
T from_lane(T value, int lane) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  exchange(&value, sizeof(T));
  T result;
  std::memcpy(&result, slot(lane), sizeof(T));
  return result;
}

}  // namespace emulator

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
// Refuses more shared memory than a block of an H100 or H200 may ask for, and to lower what the kernel was allowed
// before: another host thread may be about to launch it with that.
cudaError_t emulated_shared_memory_limit(const void* name, size_t bytes);

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int value) {
  return emulated_shared_memory_limit(reinterpret_cast<const void*>(kernel), static_cast<size_t>(value));
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  std::tuple<Parameters...> values(arguments...);
  return emulator::run(reinterpret_cast<const void*>(kernel), config->gridDim, config->blockDim,
                       config->dynamicSmemBytes, [&] { std::apply(kernel, values); });
}

inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp(unsigned = 0xffffffffu) { emulator::warp_barrier(); }

inline int emulated_lane() { return static_cast<int>(threadIdx.x % 32); }
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return emulator::from_lane(value, lane % 32);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::from_lane(value, emulated_lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int delta) {
  return emulator::from_lane(value, emulated_lane() < delta ? emulated_lane() : emulated_lane() - delta);
}
template <class T>
T __shfl_down_sync(unsigned, T value, int delta) {
  return emulator::from_lane(value, emulated_lane() + delta > 31 ? emulated_lane() : emulated_lane() + delta);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const int mine = predicate != 0;
  emulator::exchange(&mine, sizeof(mine));
  unsigned mask = 0;
  for (int lane = 0; lane < 32; ++lane) {
    mask |= static_cast<unsigned>(*static_cast<const int*>(emulator::slot(lane))) << lane;
  }
  return mask;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == 0xffffffffu; }
inline int __reduce_add_sync(unsigned, int value) {
  emulator::exchange(&value, sizeof(value));
  int sum = 0;
  for (int lane = 0; lane < 32; ++lane) {
    sum += *static_cast<const int*>(emulator::slot(lane));
  }
  return sum;
}
inline unsigned __reduce_or_sync(unsigned, unsigned value) {
  emulator::exchange(&value, sizeof(value));
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    bits |= *static_cast<const unsigned*>(emulator::slot(lane));
  }
  return bits;
}
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }

// Fibers give way nowhere inside, so plain statements are atomic.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T before = *address;
  *address = before + value;
  return before;
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T before = *address;
  *address = value < before ? value : before;
  return before;
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T before = *address;
  *address = before < value ? value : before;
  return before;
}

using std::fma;
using std::fmaf;
using std::fmax;
using std::fmin;
using std::isfinite;
using std::nextafter;
using std::sqrt;
template <class T>
T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}

// One 16 x 8 x 16 step of a float64 tensor core; which lane holds what: csrc/cuda/kernels/dmma.cuh.
inline void emulated_dmma_16x8x16(double (&c)[4], const double (&upper)[4], const double (&lower)[4],
                                  const double (&b)[4]) {
  const int group = emulated_lane() / 4;
  const int member = emulated_lane() % 4;
  double left[2][16];
  double right[16][2];
  for (int s = 0; s < 4; ++s) {
    const double mine[2] = {upper[s], lower[s]};
    emulator::exchange(mine, sizeof(mine));
    for (int t = 0; t < 4; ++t) {
      const auto* found = static_cast<const double*>(emulator::slot(4 * group + t));
      left[0][4 * s + t] = found[0];
      left[1][4 * s + t] = found[1];
    }
  }
  for (int s = 0; s < 4; s += 2) {
    emulator::exchange(b + s, 2 * sizeof(double));
    for (int t = 0; t < 4; ++t) {
      for (int column = 0; column < 2; ++column) {
        const auto* found = static_cast<const double*>(emulator::slot(4 * (2 * member + column) + t));
        right[4 * s + t][column] = found[0];
        right[4 * s + 4 + t][column] = found[1];
      }
    }
  }
  for (int e = 0; e < 4; ++e) {
    for (int d = 0; d < 16; ++d) {
      c[e] = std::fma(left[e / 2][d], right[d][e % 2], c[e]);
    }
  }
}
