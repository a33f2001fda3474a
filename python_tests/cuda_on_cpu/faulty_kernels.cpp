// Kernels with the mistakes that the emulator is there to find, and the right ones beside them. Each returns the status
// of its launch; test_emulator.py calls them through ctypes.
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../../csrc/cuda/kernels/block.cuh"

namespace {

template <class... Parameters>
int launch(void (*kernel)(Parameters...), unsigned threads, size_t shared_bytes,
           std::type_identity_t<Parameters>... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// Every thread reads what its neighbour wrote.
__global__ void neighbours(float* out, bool with_barrier) {
  float* values = reinterpret_cast<float*>(salt::cuda::shared_memory());
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (with_barrier) {
    __syncthreads();
  }
  out[threadIdx.x] = values[(threadIdx.x + 1) % blockDim.x];
}

__global__ void half_reach_the_barrier() {
  if (threadIdx.x < 32) {
    __syncthreads();
  }
}

__global__ void lane_leaves_early(int* out) {
  if (threadIdx.x == 3) {
    return;
  }
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, static_cast<int>(threadIdx.x), 1);
}

__global__ void writes_beyond(size_t asked) { salt::cuda::shared_memory()[asked] = 1; }

__global__ void reads_half(const __half* values, float* out) { out[threadIdx.x] = __half2float(values[threadIdx.x]); }

__global__ void does_nothing() {}

__global__ void warp_operations(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int sum = lane;
  for (int offset = 16; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  }
  const int above = __shfl_down_sync(0xffffffffu, lane, 1);
  const int below = __shfl_up_sync(0xffffffffu, lane, 1);
  const unsigned odd = __ballot_sync(0xffffffffu, lane % 2);
  out[4 * threadIdx.x] = sum;
  out[4 * threadIdx.x + 1] = above;
  out[4 * threadIdx.x + 2] = below;
  out[4 * threadIdx.x + 3] = static_cast<int>(odd);
}

}  // namespace

extern "C" {
int run_neighbours(float* out, int with_barrier) {
  return launch(neighbours, 64, 64 * sizeof(float), out, with_barrier != 0);
}
int run_half_reach_the_barrier() { return launch(half_reach_the_barrier, 64, 0); }
int run_lane_leaves_early(int* out) { return launch(lane_leaves_early, 32, 0, out); }
int run_writes_beyond(size_t asked) { return launch(writes_beyond, 32, asked, asked); }
// New device memory is full of ones, as the tests make it.
int run_reads_half(float* out, int written) {
  __half values[32];
  std::memset(values, 0xff, sizeof(values));
  for (int i = 0; i < written; ++i) {
    values[i] = __float2half_rn(-1.0f);
  }
  return launch(reads_half, 32, 0, static_cast<const __half*>(values), out);
}
int run_large(size_t allowed, size_t asked) {
  const int status =
      cudaFuncSetAttribute(does_nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(allowed));
  return status != 0 ? status : launch(does_nothing, 32, asked);
}
int run_lowers_its_limit() { return run_large(100 << 10, 100 << 10) != 0 ? -1 : run_large(80 << 10, 80 << 10); }
int run_copies(int* out, size_t bytes) {
  const int from[4] = {1, 2, 3, 4};
  return cudaMemcpyAsync(out, from, bytes, cudaMemcpyDeviceToDevice, nullptr);
}
int run_fills(int* out, size_t bytes) { return cudaMemsetAsync(out, 1, bytes, nullptr); }
int run_warp_operations(int* out) { return launch(warp_operations, 64, 0, out); }
}
