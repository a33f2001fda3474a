#include "group_gram.h"

#include <algorithm>
#include <iterator>

namespace salt {
namespace {

// The same for every group, so that sums are split alike: a full group's share of it stays in the second-level cache.
constexpr int64_t kDepth = 384;

}  // namespace

void GroupGram::unite(const CsrView& csr, std::span<const int64_t> rows) {
  united_.clear();
  for (const int64_t row : rows) {
    const int64_t* support = csr.row(row);
    merged_.clear();
    std::set_union(united_.begin(), united_.end(), support, support + csr.size(row), std::back_inserter(merged_));
    united_.swap(merged_);
  }
}

void GroupGram::form(const CsrView& csr, std::span<const int64_t> rows, const std::vector<const void*>& queries) {
  unite(csr, rows);
  const int64_t common = static_cast<int64_t>(united_.size());
  const int64_t n = common + static_cast<int64_t>(queries.size());
  constexpr int64_t ld = kDepth + kMatrixLanes;  // rows that are a power of two apart would share few sets of the cache
  ld_ = n;
  products_.assign(static_cast<size_t>(common * ld_), 0.0);
  buffer_.resize(static_cast<size_t>(n * ld));
  for (int64_t begin = 0; begin < anchors_.cols; begin += kDepth) {
    const int64_t length = std::min(kDepth, anchors_.cols - begin);
    for (int64_t i = 0; i < n; ++i) {
      const void* row = i < common ? anchors_.at(united_[static_cast<size_t>(i)], begin)
                                   : static_cast<const char*>(queries[static_cast<size_t>(i - common)]) +
                                         begin * element_size(anchors_.dtype);
      kernels_.widen_f64(anchors_.dtype, row, length, buffer_.data() + i * ld);
    }
    kernels_.gram(buffer_.data(), n, common, length, ld, products_.data(), ld_);
  }
}

void GroupGram::extract(int64_t member, const int64_t* support, int64_t k, int64_t ld, double* gram, double* rhs) {
  places_.resize(static_cast<size_t>(k));
  auto place = united_.begin();
  for (int64_t i = 0; i < k; ++i) {
    place = std::find(place, united_.end(), support[i]);
    places_[static_cast<size_t>(i)] = place - united_.begin();
  }
  const int64_t query = static_cast<int64_t>(united_.size()) + member;
  for (int64_t i = 0; i < k; ++i) {
    const double* row = products_.data() + places_[static_cast<size_t>(i)] * ld_;
    for (int64_t j = i; j < k; ++j) {
      gram[i * ld + j] = row[places_[static_cast<size_t>(j)]];
    }
    rhs[i] = row[query];
  }
}

}  // namespace salt
