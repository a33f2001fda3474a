// The tensors lie on the CPU: there is no device to switch to.
#pragma once

#include <torch/csrc/stable/c/shim.h>

#include <cstdint>

namespace torch::stable::accelerator {

using DeviceIndex = int32_t;

struct DeviceGuard {
  explicit DeviceGuard(DeviceIndex) {}
};

}  // namespace torch::stable::accelerator
