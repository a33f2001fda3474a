// What the kernels of lstsq_weights share: the call, and lists of rows that take the same path.
#pragma once

#include "row_source.cuh"

namespace salt::cuda {

// Numbers of rows and how many they are. Their order differs from run to run, which no result can show: every row is
// solved for itself.
struct RowList {
  int64_t* rows = nullptr;
  unsigned long long* count = nullptr;

  __device__ __forceinline__ int64_t size() const { return static_cast<int64_t>(*count); }
  __device__ __forceinline__ void append(int64_t row) const { rows[atomicAdd(count, 1ull)] = row; }
};

// What all rows share.
struct RowTask {
  CsrView csr;
  MatrixView queries;
  MatrixView anchors;
  bool vectorised = false;
  bool weighted = false;  // `weights` holds sqrt(k p) where the weights shall be
  bool intercept = false;
  double ridge = 0;
  double rcond = -1;  // negative: the default
  double* weights = nullptr;
  double* scratch = nullptr;  // per block: the mean (h, with intercept), then max(k, h) numbers
  int64_t scratch_stride = 0;
};

template <class Element>
__device__ __forceinline__ RowSource<Element> source_of(const RowTask& task, int64_t row) {
  RowSource<Element> source;
  source.anchors = static_cast<const Element*>(task.anchors.data);
  source.stride = task.anchors.row_stride;
  source.columns = task.csr.row(row);
  source.query = static_cast<const Element*>(task.queries.row(row));
  source.scales = task.weighted ? task.weights + task.csr.begin(row) : nullptr;
  source.k = task.csr.size(row);
  source.inverse_k = 1 / static_cast<double>(source.k);
  source.h = static_cast<int>(task.anchors.cols);
  source.vectorised = task.vectorised;
  if (task.intercept) {
    double* mean = task.scratch + blockIdx.x * task.scratch_stride;
    mean_of_anchors(source, mean);
    __syncthreads();
    source.mean = mean;
  }
  return source;
}

__device__ __forceinline__ double* scratch_of_block(const RowTask& task) {
  return task.scratch + blockIdx.x * task.scratch_stride + (task.intercept ? task.anchors.cols : 0);
}

__device__ __forceinline__ double cutoff(const RowTask& task, int64_t k) {
  const int64_t larger = k < task.anchors.cols ? task.anchors.cols : k;
  return task.rcond < 0 ? static_cast<double>(larger) * rank_epsilon(task.anchors.dtype) : task.rcond;
}

// Lists by the number of 32 x 32 tiles along the Gram matrix: one to kMaxSharedTiles, then all larger ones. First those
// with a row and column per anchor, then those with fewer dimensions than anchors.
constexpr int kMaxSharedTiles = 4;
constexpr int kSizes = kMaxSharedTiles + 1;
constexpr int kLists = 2 * kSizes;

constexpr int kPrepareThreads = 128;

// One warp per row: its list (empty rows are on none), and with sample weights sqrt(k p) in place of the result.
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_rows(RowTask task, const double* sample_weights, int64_t* rows, unsigned long long* counts) {
  for (int64_t row = warp_of_grid(); row < task.csr.rows; row += warps_of_grid()) {
    const int64_t begin = task.csr.begin(row);
    const int64_t k = task.csr.size(row);
    if (sample_weights != nullptr) {
      double sum = 0;
      for (int64_t i = lane_index(); i < k; i += kWarpSize) {
        sum += sample_weights[begin + i];
      }
      sum = warp_reduce(sum, Sum{});
      for (int64_t i = lane_index(); i < k; i += kWarpSize) {
        task.weights[begin + i] = sqrt(static_cast<double>(k) * (sample_weights[begin + i] / sum));
      }
    }
    if (lane_index() == 0 && k > 0) {
      const int64_t tiles = (min(k, task.anchors.cols) + 31) / 32;
      const int64_t size = min(max(tiles, int64_t{1}) - 1, int64_t{kMaxSharedTiles});
      const int64_t list = k <= task.anchors.cols ? size : kSizes + size;
      RowList{rows + list * task.csr.rows, counts + list}.append(row);
    }
  }
}

}  // namespace salt::cuda
