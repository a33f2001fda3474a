// Inner products of the anchors that a group of rows shares: each anchor is read and each pair multiplied once for all.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../common/views.h"
#include "aligned.h"
#include "simd/kernels.h"

namespace salt {

// One per thread, memory reused. A product does not depend on the group that it is computed in.
class GroupGram {
 public:
  GroupGram(const Kernels& kernels, const MatrixView& anchors) : kernels_(kernels), anchors_(anchors) {}

  // All products of the anchors named by the given rows of `csr`, and of these with `queries`, one per row.
  void form(const CsrView& csr, std::span<const int64_t> rows, const std::vector<const void*>& queries);

  // The upper triangle for one row's support into `gram` (leading dimension ld), its products with query `member` of
  // the group into `rhs`.
  void extract(int64_t member, const int64_t* support, int64_t k, int64_t ld, double* gram, double* rhs);

 private:
  void unite(const CsrView& csr, std::span<const int64_t> rows);

  const Kernels& kernels_;
  const MatrixView& anchors_;
  std::vector<int64_t> united_;  // anchors of the group, ascending
  std::vector<int64_t> merged_;
  std::vector<int64_t> places_;  // of one support among them
  AlignedVector<double> buffer_;
  AlignedVector<double> products_;
  int64_t ld_ = 0;  // of products_
};

}  // namespace salt
