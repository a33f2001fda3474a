// What checks leave on the device: the lowest row, or entry, of each kind that is wrong, by atomicMin.
#pragma once

#include <limits>

namespace salt::cuda {

constexpr long long kNothingFound = std::numeric_limits<long long>::max();

}  // namespace salt::cuda
