// Kernel launches: the only place that starts one. Sizes are checked, shared memory beyond 48 KiB is asked for, and a
// launch that fails is an error there and then.
#pragma once

#include <type_traits>

#include "context.h"

namespace salt::cuda {

constexpr size_t kSharedMemoryWithoutAsking = 48 * 1024;

struct Grid {
  int64_t blocks = 0;  // 0: nothing is launched
  int threads = 0;
  size_t shared_bytes = 0;
};

template <class... Parameters>
void launch(const Context& context, void (*kernel)(Parameters...), Grid grid,
            std::type_identity_t<Parameters>... arguments) {
  if (grid.blocks == 0) {
    return;
  }
  // 2^31 - 1 blocks at most: kernels over more rows than that step by gridDim.x.
  const int64_t blocks = std::min<int64_t>(grid.blocks, 0x7fffffff);
  if (grid.shared_bytes > kSharedMemoryWithoutAsking) {
    // The limit, never this launch's own size: the attribute belongs to the kernel, and another host thread may be
    // between its asking and its launch. Our kernels have no static shared memory that would count, too.
    SALT_CALL(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, context.shared_memory_limit()));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = context.stream();
  SALT_CALL(cudaLaunchKernelEx(&config, kernel, arguments...));
}

// Blocks that cover `items` with `per_block` each.
inline int64_t blocks_for(int64_t items, int64_t per_block) { return (items + per_block - 1) / per_block; }

}  // namespace salt::cuda
