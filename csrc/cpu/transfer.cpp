#include "../ops/transfer.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <vector>

#include "combine.h"
#include "directions.h"
#include "group_solver.h"
#include "parallel.h"
#include "sparsemax_row.h"

namespace salt {
namespace {

struct Inputs {
  Directions aux_new;
  Directions aux_shared;
  MatrixView donor_new;
  MatrixView donor_shared;
  MatrixView source_shared;
  double temperature;
  LstsqOptions options;
};

// Supports are collected for so many entries before their rows are solved: enough that most rows of a cluster meet.
constexpr int64_t kBatchEntries = int64_t{1} << 19;

// Rows with their supports, one after another; p only where the solver takes it.
struct Supports {
  std::vector<int64_t> rows;  // of the output
  std::vector<int64_t> crow = {0};
  std::vector<int64_t> columns;
  std::vector<double> p;

  void append(const Supports& other) {
    const int64_t entries = crow.back();
    for (size_t i = 1; i < other.crow.size(); ++i) {
      crow.push_back(entries + other.crow[i]);
    }
    rows.insert(rows.end(), other.rows.begin(), other.rows.end());
    columns.insert(columns.end(), other.columns.begin(), other.columns.end());
    p.insert(p.end(), other.p.begin(), other.p.end());
  }

  CsrView view(int64_t width) const {
    return {crow.data(), columns.data(), static_cast<int64_t>(rows.size()), width, crow.back()};
  }
};

// The supports of the next blocks of queries, from `next` on, until the batch is full. Which blocks these are may
// depend on the threads; what becomes of a row does not depend on its batch.
template <class Aux>
Supports next_batch(const Inputs& in, const CoarseKeys* coarse, int threads, std::atomic<int64_t>& next) {
  const Kernels& kernel = kernels();
  const int64_t queries = in.aux_new.size();
  const int64_t block_size = query_block(queries, threads);
  std::atomic<int64_t> entries{0};
  Supports batch;
  std::mutex one_at_a_time;
  on_each_thread(threads, [&] {
    SparsemaxBlock<Aux> search(kernel, in.aux_new, in.aux_shared, coarse, in.temperature);
    Supports found;
    std::vector<int64_t> support;
    std::vector<double> p;
    while (entries < kBatchEntries) {
      const int64_t begin = next.fetch_add(block_size);
      if (begin >= queries) {
        break;
      }
      const int64_t count = std::min(block_size, queries - begin);
      search.run(begin, count);
      for (int64_t i = 0; i < count; ++i) {
        search.finish(i, support, p);
        found.rows.push_back(in.aux_new.valid[static_cast<size_t>(begin + i)]);
        found.columns.insert(found.columns.end(), support.begin(), support.end());
        found.crow.push_back(static_cast<int64_t>(found.columns.size()));
        if (in.options.intercept) {
          found.p.insert(found.p.end(), p.begin(), p.end());
        }
        entries += static_cast<int64_t>(support.size());
      }
    }
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    batch.append(found);
  });
  return batch;
}

template <class Sum>
void solve_batch(const Inputs& in, int threads, const Supports& batch, std::byte* out) {
  const Kernels& kernel = kernels();
  const int64_t row_bytes = in.source_shared.cols * element_size(in.source_shared.dtype);
  const CsrView csr = batch.view(in.donor_shared.rows);
  const RowGroups groups = group_rows(csr);
  share_tasks(threads, groups.count(), 1, [&](Tasks& tasks) {
    GroupSolver solver(kernel, in.donor_shared, in.options);
    RowCombiner<Sum> combiner(kernel);
    tasks.each([&](int64_t group) {
      solver.run(
          csr, groups.rows(group), in.options.intercept ? batch.p.data() : nullptr,
          [&](int64_t row) { return in.donor_new.row(batch.rows[static_cast<size_t>(row)]); },
          [&](int64_t row, const double* weights) {
            const int64_t k = csr.size(row);
            std::copy_n(weights, k, combiner.weights(k));
            combiner.combine(in.source_shared, csr.row(row), k, out + batch.rows[static_cast<size_t>(row)] * row_bytes);
          });
    });
  });
}

// Aux: arithmetic of the similarities; Sum: of the weighted sums of source rows.
template <class Aux, class Sum>
void transfer_batches(const Inputs& in, std::byte* out) {
  const int threads = threads_for(product_size(in.aux_new, in.aux_shared));
  const std::optional<CoarseKeys> coarse = CoarseKeys::of(kernels(), in.aux_shared, in.aux_new.size(), threads);
  std::atomic<int64_t> next{0};
  while (next < in.aux_new.size()) {
    solve_batch<Sum>(in, threads, next_batch<Aux>(in, coarse ? &*coarse : nullptr, threads, next), out);
  }
}

}  // namespace

Tensor transfer_cpu(const Tensor& aux_new, const Tensor& aux_shared, const Tensor& donor_new,
                    const Tensor& donor_shared, const Tensor& source_shared, double temperature, double ridge,
                    bool intercept, std::optional<double> rcond) {
  validate_transfer(aux_new, aux_shared, donor_new, donor_shared, source_shared, temperature, ridge, rcond);
  const Tensor aux_new_rows = with_dense_rows(aux_new);
  const Tensor aux_shared_rows = with_dense_rows(aux_shared);
  const Tensor donor_new_rows = with_dense_rows(donor_new);
  const Tensor donor_shared_rows = with_dense_rows(donor_shared);
  const Tensor source_rows = with_dense_rows(source_shared);
  const Inputs in{unit_directions(view_of(aux_new_rows, "aux_new"), "aux_new"),
                  unit_directions(view_of(aux_shared_rows, "aux_shared"), "aux_shared"),
                  view_of(donor_new_rows, "donor_new"),
                  view_of(donor_shared_rows, "donor_shared"),
                  view_of(source_rows, "source_shared"),
                  temperature,
                  {ridge, intercept, rcond.value_or(-1)}};
  check_finite(in.donor_new, "donor_new");
  check_finite(in.donor_shared, "donor_shared");
  check_finite(in.source_shared, "source_shared");

  Tensor out = new_tensor(source_shared, {aux_new.size(0), source_shared.size(1)});
  std::byte* data = static_cast<std::byte*>(out.mutable_data_ptr());
  // Rows without a direction are never visited: all bits zero is 0.0 in every dtype.
  std::fill_n(data, out.numel() * element_size(in.source_shared.dtype), std::byte{0});
  const bool wide_aux = in.aux_new.matrix.dtype == DType::kFloat64;
  const bool wide_sum = in.source_shared.dtype == DType::kFloat64;
  if (wide_aux) {
    wide_sum ? transfer_batches<double, double>(in, data) : transfer_batches<double, float>(in, data);
  } else {
    wide_sum ? transfer_batches<float, double>(in, data) : transfer_batches<float, float>(in, data);
  }
  return out;
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("transfer", TORCH_BOX(&transfer_cpu)); }

}  // namespace salt
