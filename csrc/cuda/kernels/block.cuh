// What the threads of a warp or a block do together. Every sum has one fixed order, so results repeat bit for bit.
// All threads of the block (warp) must take part in every call; `scratch` is shared memory of kWarpSize elements, and
// each block-wide function ends with a barrier, so that it may be used again at once.
#pragma once

#include <cstdint>

namespace salt::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x) / kWarpSize; }
__device__ __forceinline__ int warps_of_block() { return static_cast<int>(blockDim.x) / kWarpSize; }

// Positions among all warps and threads of the launch. Kernels over many items begin there and step by how many there
// are, since a launch has at most 2^31 - 1 blocks.
__device__ __forceinline__ int64_t warp_of_grid() {
  return static_cast<int64_t>(blockIdx.x) * warps_of_block() + warp_index();
}
__device__ __forceinline__ int64_t warps_of_grid() { return static_cast<int64_t>(gridDim.x) * warps_of_block(); }
__device__ __forceinline__ int64_t thread_of_grid() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t threads_of_grid() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// The block's dynamic shared memory, the only kind in use: one name, carved up by hand.
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char salt_shared[];
  return salt_shared;
}

struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Max {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

// The same value in every lane: butterfly of a commutative operation.
template <class T, class Operation>
__device__ __forceinline__ T warp_reduce(T value, Operation operation) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value = operation(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

// The same value in every thread. `neutral` fills up the missing warps.
template <class T, class Operation>
__device__ __forceinline__ T block_reduce(T value, Operation operation, T neutral, T* scratch) {
  value = warp_reduce(value, operation);
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  __syncthreads();
  value = warp_reduce(lane_index() < warps_of_block() ? scratch[lane_index()] : neutral, operation);
  __syncthreads();
  return value;
}

// Sum of the values of all lower lanes.
__device__ __forceinline__ int warp_exclusive_scan(int value) {
  int sum = value;
#pragma unroll
  for (int offset = 1; offset < kWarpSize; offset *= 2) {
    const int below = __shfl_up_sync(kAllLanes, sum, offset);
    if (lane_index() >= offset) {
      sum += below;
    }
  }
  return sum - value;
}

// Sum of the values of all threads before this one; `total` gets that of all.
__device__ __forceinline__ int block_exclusive_scan(int value, int* scratch, int& total) {
  const int within = warp_exclusive_scan(value);
  if (lane_index() == kWarpSize - 1) {
    scratch[warp_index()] = within + value;
  }
  __syncthreads();
  const int of_warp = lane_index() < warps_of_block() ? scratch[lane_index()] : 0;
  const int before = warp_exclusive_scan(of_warp);
  total = __shfl_sync(kAllLanes, before + of_warp, kWarpSize - 1);
  const int result = __shfl_sync(kAllLanes, before, warp_index()) + within;
  __syncthreads();
  return result;
}

}  // namespace salt::cuda
