// salt_ext._C: facts about this build and this CPU. No tensors and no torch headers in here: torch ships a pybind11 of
// its own, and nothing but plain strings is needed on this side.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

namespace py = pybind11;

namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = SALT_VERSION;
  info["compiler"] = SALT_COMPILER;
  info["torch_headers"] = SALT_TORCH_VERSION;
  info["isa_variants"] = SALT_ISA_VARIANTS;
  info["cuda_architectures"] = SALT_CUDA_ARCHITECTURES;
  info["cuda_missing"] = SALT_CUDA_MISSING;
  return info;
}

// What this CPU offers of the instruction sets that kernels are compiled for.
std::vector<std::string> cpu_features() {
  std::vector<std::string> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
#define SALT_PROBE(feature) \
  if (__builtin_cpu_supports(feature)) found.emplace_back(feature)
  SALT_PROBE("avx2");
  SALT_PROBE("fma");
  SALT_PROBE("f16c");
  SALT_PROBE("avx512f");
  SALT_PROBE("avx512bw");
  SALT_PROBE("avx512dq");
  SALT_PROBE("avx512vl");
  SALT_PROBE("avx512vnni");
#undef SALT_PROBE
#endif
  return found;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Facts about this build of salt-ext and about this CPU.";
  module.def("build_info", &build_info,
             "Version, compiler, torch headers, instruction sets and CUDA architectures compiled in, and why the CUDA "
             "library was not built (empty where it was).");
  module.def("cpu_features", &cpu_features, "Instruction-set extensions of this CPU that kernels can make use of.");
}
