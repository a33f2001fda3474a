#include <torch/csrc/stable/library.h>

#include "../ops/transfer.h"
#include "combine.h"
#include "row_solver.h"
#include "scores.h"
#include "search.h"

namespace salt::cuda {
namespace {

Tensor transfer(const Tensor& aux_new, const Tensor& aux_shared, const Tensor& donor_new, const Tensor& donor_shared,
                const Tensor& source_shared, double temperature, double ridge, bool intercept,
                std::optional<double> rcond) {
  validate_transfer(aux_new, aux_shared, donor_new, donor_shared, source_shared, temperature, ridge, rcond);
  const Context context(source_shared);
  const Tensor aux_new_rows = with_dense_rows(aux_new);
  const Tensor aux_shared_rows = with_dense_rows(aux_shared);
  const Tensor donor_new_rows = with_dense_rows(donor_new);
  const Tensor donor_shared_rows = with_dense_rows(donor_shared);
  const Tensor source_rows = with_dense_rows(source_shared);
  const MatrixView queries = view_of(donor_new_rows, "donor_new");
  const MatrixView anchors = view_of(donor_shared_rows, "donor_shared");
  const MatrixView source = view_of(source_rows, "source_shared");
  SupportSearch search(context, view_of(aux_new_rows, "aux_new"), view_of(aux_shared_rows, "aux_shared"), temperature,
                       {"aux_new", "aux_shared"});
  check_finite(context, queries, "donor_new");
  check_finite(context, anchors, "donor_shared");
  check_finite(context, source, "source_shared");

  Tensor out = torch::stable::new_empty(source_shared, {queries.rows, source.cols});
  auto* data = static_cast<char*>(out.mutable_data_ptr());
  const LstsqOptions options{ridge, intercept, rcond.value_or(-1)};
  for (int64_t begin = 0; begin < queries.rows; begin += search.block_rows()) {
    const int64_t count = std::min(search.block_rows(), queries.rows - begin);
    const BlockSupport support = search.run(begin, count);
    const CsrView csr{support.crow.data(), support.col.data(), count, anchors.rows, support.nnz};
    const Buffer<double> weights = context.allocate<double>(support.nnz);
    solve_rows(context, csr, support.longest, queries.slice(begin, count), anchors,
               intercept ? support.weights.data() : nullptr, options, weights.data());
    void* rows = data + begin * source.cols * element_size(source.dtype);
    if (source.dtype == DType::kFloat64) {
      combine_converted<double>(context, csr, weights.data(), source, rows);
    } else {
      combine_converted<float>(context, csr, weights.data(), source, rows);
    }
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(salt, CUDA, m) { m.impl("transfer", TORCH_BOX(&transfer)); }

}  // namespace salt::cuda
