// Numbers from one type to another, on the device.
#pragma once

#include "kernels/block.cuh"
#include "kernels/elements.cuh"
#include "runtime/launch.h"

namespace salt::cuda {

constexpr int kConvertThreads = 128;

// One rounding.
template <class From, class To>
__global__ void __launch_bounds__(kConvertThreads) convert_elements(const From* from, int64_t count, To* to) {
  for (int64_t i = thread_of_grid(); i < count; i += threads_of_grid()) {
    to[i] = round_to<To>(to_double(from[i]));
  }
}

template <class From, class To>
void convert(const Context& context, const From* from, int64_t count, To* to) {
  launch(context, convert_elements<From, To>, {blocks_for(count, kConvertThreads), kConvertThreads}, from, count, to);
}

}  // namespace salt::cuda
