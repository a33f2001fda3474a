// Stands in for libtorch_cuda.so when the CUDA library is linked: the build may see a torch for the CPU only, which has
// none. It carries the name, so that the real one, which torch has loaded by then, serves when the library is loaded.
extern "C" {
__attribute__((visibility("default"))) int aoti_torch_get_current_cuda_stream(int, void**) { return 1; }
__attribute__((visibility("default"))) int torch_get_current_cuda_blas_handle(void**) { return 1; }
}
