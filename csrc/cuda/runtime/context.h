// Where an op runs: the device of its tensors, made current for the length of the call, and torch's current stream
// there. Memory comes from torch's caching allocator, so that it follows the stream and torch's own accounting.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/headeronly/util/shim_utils.h>

#include <algorithm>

#include "../../ops/tensors.h"
#include "check.h"

// Both live in libtorch_cuda.so, which the build does not need: csrc/cmake/torch_cuda_stub.cpp stands in for it.
extern "C" {
AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);
AOTITorchError torch_get_current_cuda_blas_handle(void** handle);
}

namespace salt::cuda {

// Device memory of `size` elements of T, uninitialised; given back to torch at the end of its scope.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Tensor& like, int64_t size)
      : size_(size),
        bytes_(torch::stable::new_empty(like, {std::max<int64_t>(1, size) * static_cast<int64_t>(sizeof(T))},
                                        ScalarType::Byte)) {}

  T* data() const { return size_ < 0 ? nullptr : static_cast<T*>(bytes_->mutable_data_ptr()); }
  int64_t size() const { return std::max<int64_t>(0, size_); }
  size_t size_in_bytes() const { return static_cast<size_t>(size()) * sizeof(T); }

 private:
  int64_t size_ = -1;  // -1: never allocated
  std::optional<Tensor> bytes_;
};

class Context {
 public:
  explicit Context(const Tensor& on_device) : like_(on_device), device_(on_device.get_device_index()), guard_(device_) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int32_t device() const { return device_; }
  cudaStream_t stream() const { return stream_; }

  // torch's own handle of this thread and device: its stream and workspace are set.
  cublasHandle_t blas() const {
    void* handle = nullptr;
    TORCH_ERROR_CODE_CHECK(torch_get_current_cuda_blas_handle(&handle));
    return static_cast<cublasHandle_t>(handle);
  }

  int attribute(cudaDeviceAttr name) const {
    int value = 0;
    SALT_CALL(cudaDeviceGetAttribute(&value, name, device_));
    return value;
  }
  int multiprocessors() const { return attribute(cudaDevAttrMultiProcessorCount); }
  // What a block may ask for at the most, in bytes.
  int shared_memory_limit() const { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

  template <class T>
  Buffer<T> allocate(int64_t size) const {
    return Buffer<T>(like_, size);
  }
  template <class T>
  Buffer<T> allocate_zeros(int64_t size) const {
    Buffer<T> buffer(like_, size);
    fill(buffer.data(), 0, buffer.size_in_bytes());
    return buffer;
  }

  // The only places that fill or copy device memory: of no bytes CUDA makes an error while a graph is recorded.
  void fill(void* to, int byte, size_t bytes) const {
    if (bytes > 0) {
      SALT_CALL(cudaMemsetAsync(to, byte, bytes, stream_));
    }
  }
  void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind = cudaMemcpyDeviceToDevice) const {
    if (bytes > 0) {
      SALT_CALL(cudaMemcpyAsync(to, from, bytes, kind, stream_));
    }
  }

  // Whether the stream records a CUDA graph, which forbids to wait for it.
  bool capturing() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    SALT_CALL(cudaStreamIsCapturing(stream_, &status));
    return status != cudaStreamCaptureStatusNone;
  }

  // Copies `count` values to the host and waits for them, and with them for all work on the stream.
  template <class T>
  void read(const T* device, int64_t count, T* host) const {
    copy(host, device, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost);
    SALT_CALL(cudaStreamSynchronize(stream_));
  }
  template <class T>
  T read(const T* device) const {
    T value;
    read(device, 1, &value);
    return value;
  }

 private:
  Tensor like_;
  int32_t device_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace salt::cuda
