#include "../ops/transfer.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "combine.h"
#include "directions.h"
#include "row_solver.h"
#include "sparsemax_row.h"
#include "threads.h"

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

// Aux: arithmetic of the similarities; Sum: of the weighted sums of source rows.
template <class Aux, class Sum>
void transfer_blocks(const Inputs& in, std::byte* out) {
  const Kernels& kernel = kernels();
  const int threads = threads_for(product_size(in.aux_new, in.aux_shared));
  const int64_t block_size = query_block(in.aux_new.size(), threads);
  const int64_t blocks = (in.aux_new.size() + block_size - 1) / block_size;
  const int64_t row_bytes = in.source_shared.cols * element_size(in.source_shared.dtype);
#pragma omp parallel num_threads(threads)
  {
    SparsemaxBlock<Aux> search(kernel, in.aux_new, in.aux_shared, in.temperature);
    RowSolver solver(kernel, in.donor_shared, in.options);
    RowCombiner<Sum> combiner(kernel);
    std::vector<int64_t> support;
    std::vector<double> p;
    std::vector<double> weights;
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * block_size;
      const int64_t count = std::min(block_size, in.aux_new.size() - begin);
      search.run(begin, count);
      for (int64_t i = 0; i < count; ++i) {
        search.finish(i, support, p);
        const int64_t k = static_cast<int64_t>(support.size());
        const int64_t row = in.aux_new.valid[static_cast<size_t>(begin + i)];
        weights.resize(support.size());
        solver.solve(in.donor_new.row(row), support.data(), k, in.options.intercept ? p.data() : nullptr,
                     weights.data());
        combiner.combine(in.source_shared, support.data(), weights.data(), k, out + row * row_bytes);
      }
    }
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

  Tensor out = torch::stable::new_empty(source_shared, {aux_new.size(0), source_shared.size(1)});
  std::byte* data = static_cast<std::byte*>(out.mutable_data_ptr());
  // Rows without a direction are never visited: all bits zero is 0.0 in every dtype.
  std::memset(data, 0, static_cast<size_t>(out.numel() * element_size(in.source_shared.dtype)));
  const bool wide_aux = in.aux_new.matrix.dtype == DType::kFloat64;
  const bool wide_sum = in.source_shared.dtype == DType::kFloat64;
  if (wide_aux) {
    wide_sum ? transfer_blocks<double, double>(in, data) : transfer_blocks<double, float>(in, data);
  } else {
    wide_sum ? transfer_blocks<float, double>(in, data) : transfer_blocks<float, float>(in, data);
  }
  return out;
}

STABLE_TORCH_LIBRARY_IMPL(salt, CPU, m) { m.impl("transfer", TORCH_BOX(&transfer_cpu)); }

}  // namespace salt
