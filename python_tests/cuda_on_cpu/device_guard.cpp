// torch asks every device for a guard that switches to it: for made_up_device.py one that has nothing to do.
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

const c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> guard;
const c10::impl::DeviceGuardImplRegistrar registrar(c10::DeviceType::CUDA, &guard);

}  // namespace
