// Runs kernels on one CPU thread: the threads of a block are fibers that give way at barriers and warp operations.
//
// What it shows that a GPU may hide: a barrier that not all threads reach, a warp operation with missing lanes, shared
// memory that is read before it is written (each block starts with NaN everywhere) or used beyond what the launch asked
// for, float16 numbers of device memory that are read before they are written, copies and fills of no bytes, a kernel
// whose shared memory is made smaller for the next launch, and, by running the threads in another order
// (SALT_EMULATED_ORDER=forward, reverse, or a number that seeds a shuffle), a missing barrier: results then differ.
// What it cannot show: speed, and races between blocks that run at once.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

bool read_before_written = false;

namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kSharedBytes = 227 * 1024;        // what a block of compute capability 9.0 may ask for
constexpr size_t kSharedBytesUnasked = 48 * 1024;  // what every kernel may use
constexpr int kMaxThreads = 1024;
constexpr int kWarp = 32;

enum class State { kReady, kAtBlockBarrier, kAtWarpOperation, kFinished };

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  State state = State::kReady;
  int parity = 0;
  alignas(16) unsigned char slots[2][16] = {};
};

Fiber fibers[kMaxThreads];
void* scheduler_stack_pointer = nullptr;
int current = 0;
const std::function<void()>* current_kernel = nullptr;
std::string failure;
std::map<const void*, size_t> shared_limits;  // of kernels that asked for more

cudaError_t fail(cudaError_t error, const char* reason) {
  failure = reason;
  return error;
}

// Saves the callee-saved registers on the stack that is left and takes those of the stack that is entered.
extern "C" void salt_emulator_switch(void** save, void* load);
asm(R"(
.text
.globl salt_emulator_switch
.type salt_emulator_switch, @function
salt_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size salt_emulator_switch, .-salt_emulator_switch
)");

void give_way(State state) {
  Fiber& fiber = fibers[current];
  fiber.state = state;
  salt_emulator_switch(&fiber.stack_pointer, scheduler_stack_pointer);
}

void fiber_main() {
  (*current_kernel)();
  give_way(State::kFinished);
  std::abort();  // a finished fiber is never resumed
}

void prepare(Fiber& fiber) {
  if (fiber.stack == nullptr) {
    fiber.stack = static_cast<char*>(
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  auto* top = reinterpret_cast<void**>(fiber.stack + kStackBytes - 64);
  *--top = nullptr;  // alignment: at entry the stack pointer is 8 beyond a multiple of 16, as after a call
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) {
    *--top = nullptr;
  }
  fiber.stack_pointer = top;
  fiber.state = State::kReady;
  fiber.parity = 0;
}

std::vector<int> order_of_threads(int threads) {
  std::vector<int> order(static_cast<size_t>(threads));
  std::iota(order.begin(), order.end(), 0);
  const char* wanted = std::getenv("SALT_EMULATED_ORDER");
  if (wanted != nullptr && std::string(wanted) == "reverse") {
    std::reverse(order.begin(), order.end());
  } else if (wanted != nullptr && std::atoi(wanted) != 0) {
    std::mt19937 generator(static_cast<unsigned>(std::atoi(wanted)));
    std::shuffle(order.begin(), order.end(), generator);
  }
  return order;
}

bool all_are(int begin, int end, State state) {
  return std::all_of(fibers + begin, fibers + end, [&](const Fiber& fiber) { return fiber.state == state; });
}

void release(int begin, int end) {
  std::for_each(fibers + begin, fibers + end, [](Fiber& fiber) { fiber.state = State::kReady; });
}

// Runs one block to its end; false where its threads wait for each other forever.
bool run_block(const std::vector<int>& order) {
  const int threads = static_cast<int>(order.size());
  for (int i = 0; i < threads; ++i) {
    prepare(fibers[i]);
  }
  for (;;) {
    bool moved = false;
    for (const int i : order) {
      if (fibers[i].state == State::kReady) {
        moved = true;
        current = i;
        threadIdx = dim3(static_cast<unsigned>(i), 0, 0);
        salt_emulator_switch(&scheduler_stack_pointer, fibers[i].stack_pointer);
      }
    }
    if (all_are(0, threads, State::kFinished)) {
      return true;
    }
    if (all_are(0, threads, State::kAtBlockBarrier)) {
      release(0, threads);
      moved = true;
    }
    for (int begin = 0; begin < threads; begin += kWarp) {
      const int end = std::min(threads, begin + kWarp);
      if (all_are(begin, end, State::kAtWarpOperation)) {
        release(begin, end);
        moved = true;
      }
    }
    if (!moved) {
      return false;
    }
  }
}

}  // namespace

void block_barrier() { give_way(State::kAtBlockBarrier); }
void warp_barrier() { give_way(State::kAtWarpOperation); }

// Two slots in turn: whoever writes again has passed the next operation, at which all lanes had read the last.
void exchange(const void* value, size_t size) {
  Fiber& fiber = fibers[current];
  fiber.parity ^= 1;
  std::memcpy(fiber.slots[fiber.parity], value, size);
  warp_barrier();
}

const void* slot(int lane) { return fibers[current / kWarp * kWarp + lane].slots[fibers[current].parity]; }

}  // namespace emulator

// What shared_memory() of kernels/block.cuh returns, and a zone behind it that must stay as it was filled.
namespace salt::cuda {
alignas(1024) unsigned char salt_shared[emulator::kSharedBytes + 1024];
}
using salt::cuda::salt_shared;

namespace emulator {

cudaError_t run(const void* name, const dim3& blocks, const dim3& threads, size_t shared_bytes,
                const std::function<void()>& kernel) {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> guard(one_at_a_time);
  if (threads.x == 0 || threads.x > kMaxThreads || threads.y * threads.z * blocks.y * blocks.z != 1 || blocks.x == 0 ||
      shared_bytes > std::max(kSharedBytesUnasked, shared_limits[name])) {
    return fail(cudaErrorInvalidConfiguration, "invalid configuration");
  }
  const std::vector<int> order = order_of_threads(static_cast<int>(threads.x));
  current_kernel = &kernel;
  blockDim = threads;
  gridDim = blocks;
  for (unsigned block = 0; block < blocks.x; ++block) {
    blockIdx = dim3(block, 0, 0);
    std::memset(salt_shared, 0xff, shared_bytes + 1024);
    if (!run_block(order)) {
      return fail(cudaErrorLaunchFailure,
                  "threads of a block wait for each other forever: a barrier or warp operation that not all reach");
    }
    if (std::any_of(salt_shared + shared_bytes, salt_shared + shared_bytes + 1024,
                    [](unsigned char byte) { return byte != 0xff; })) {
      return fail(cudaErrorLaunchFailure, "a block wrote beyond the shared memory that its launch asked for");
    }
    if (std::exchange(read_before_written, false)) {
      return fail(cudaErrorLaunchFailure, "a block read float16 numbers that nothing had written");
    }
  }
  return cudaSuccess;
}

}  // namespace emulator

const char* cudaGetErrorString(cudaError_t) { return emulator::failure.c_str(); }
// A graph that is being recorded refuses to copy or to fill no bytes.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes == 0) {
    return emulator::fail(cudaErrorInvalidValue, "a copy of no bytes");
  }
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (bytes == 0) {
    return emulator::fail(cudaErrorInvalidValue, "a fill of no bytes");
  }
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 2;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = emulator::kSharedBytes;
      break;
  }
  return cudaSuccess;
}
cudaError_t emulated_shared_memory_limit(const void* name, size_t bytes) {
  size_t& limit = emulator::shared_limits[name];
  if (bytes > emulator::kSharedBytes || bytes < limit) {
    return emulator::fail(cudaErrorInvalidValue, "a kernel's shared memory is made too large, or smaller than before");
  }
  limit = bytes;
  return cudaSuccess;
}

// What libtorch_cuda.so offers to context.h.
extern "C" {
int32_t aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}
int32_t torch_get_current_cuda_blas_handle(void** handle) {
  *handle = nullptr;
  return 0;
}
}
