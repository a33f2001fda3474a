// From torch's stable tensors to raw views, and the checks that several contracts share.
// This and the headers beside it are the only place where torch's stable ABI meets the kernels.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cmath>
#include <exception>
#include <new>
#include <optional>

#include "../common/check.h"
#include "../common/views.h"

namespace salt {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline DType dtype_of(const Tensor& tensor, const char* argument) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return DType::kFloat32;
    case ScalarType::Double:
      return DType::kFloat64;
    case ScalarType::Half:
      return DType::kFloat16;
    case ScalarType::BFloat16:
      return DType::kBFloat16;
    default:
      input_error(argument,
                  ": found a dtype that is not floating point, expected float32, float64, float16 or bfloat16");
  }
}

inline void check_matrix(const Tensor& tensor, const char* argument) {
  SALT_CHECK(tensor.dim() == 2, argument, ": found ", tensor.dim(), " dimensions, expected 2");
  dtype_of(tensor, argument);
}

inline void check_device(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  SALT_CHECK(a.device() == b.device(), b_name, ": found another device than that of ", a_name,
             ", expected all tensors on one device");
}

// Both have the same dtype and device.
inline void check_alike(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  SALT_CHECK(a.scalar_type() == b.scalar_type(), b_name, ": found ", dtype_name(dtype_of(b, b_name)), ", expected ",
             dtype_name(dtype_of(a, a_name)), " as ", a_name);
  check_device(a, a_name, b, b_name);
}

inline void check_width(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  SALT_CHECK(a.size(1) == b.size(1), b_name, ": found ", b.size(1), " columns, expected ", a.size(1), " as ", a_name);
}

// Two matrices of one dtype, device and width.
inline void check_pair(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  check_matrix(a, a_name);
  check_matrix(b, b_name);
  check_alike(a, a_name, b, b_name);
  check_width(a, a_name, b, b_name);
}

inline void check_rows(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  SALT_CHECK(a.size(0) == b.size(0), b_name, ": found ", b.size(0), " rows, expected ", a.size(0), " as ", a_name);
}

inline void check_indices(const Tensor& tensor, const char* argument) {
  SALT_CHECK(tensor.dim() == 1, argument, ": found ", tensor.dim(), " dimensions, expected 1");
  SALT_CHECK(tensor.scalar_type() == ScalarType::Long, argument, ": found another dtype, expected int64");
}

// Shapes of a CSR matrix on the device of `other`; what the indices say is checked by checked_csr of each backend.
inline void check_csr(const Tensor& crow, const Tensor& col, const Tensor& other, const char* other_name) {
  check_indices(crow, "crow_indices");
  check_indices(col, "col_indices");
  check_device(other, other_name, crow, "crow_indices");
  check_device(other, other_name, col, "col_indices");
  SALT_CHECK(crow.size(0) >= 1, "crow_indices: found length 0, expected one more than the number of rows");
}

// A CSR matrix has one row for each of `matrix`.
inline void check_csr_rows(const Tensor& crow, const Tensor& matrix, const char* matrix_name) {
  SALT_CHECK(crow.size(0) == matrix.size(0) + 1, "crow_indices: found length ", crow.size(0), ", expected ",
             matrix.size(0) + 1, " (one more than the rows of ", matrix_name, ")");
}

// One number for each entry of a CSR matrix.
inline void check_entries(const Tensor& tensor, const char* argument, const Tensor& col) {
  SALT_CHECK(tensor.dim() == 1 && tensor.size(0) == col.size(0), argument, ": found another shape, expected [",
             col.size(0), "] as col_indices");
  dtype_of(tensor, argument);
}

inline void check_option(bool good, const char* argument, double found, const char* expected) {
  SALT_CHECK(good, argument, ": found ", found, ", expected ", expected);
}

// What `make` makes of checked arguments. torch's stable ABI says no more than that a call failed; on a CPU, which has
// no errors of earlier kernels to report, it was the memory.
template <class Make>
Tensor allocated(const Tensor& like, const Make& make) {
  try {
    return make();
  } catch (const std::exception&) {
    if (like.is_cpu()) {
      throw std::bad_alloc();
    }
    throw;
  }
}

inline Tensor packed(const Tensor& tensor) {
  return allocated(tensor, [&] { return torch::stable::contiguous(tensor); });
}

inline Tensor new_tensor(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef shape,
                         std::optional<ScalarType> dtype = std::nullopt) {
  return allocated(like, [&] { return torch::stable::new_empty(like, shape, dtype); });
}

// Elements of a row must be adjacent; rows need not be. Only a matrix that breaks this is copied.
inline Tensor with_dense_rows(const Tensor& matrix) {
  return matrix.stride(1) == 1 || matrix.size(1) <= 1 ? matrix : packed(matrix);
}

inline MatrixView view_of(const Tensor& matrix, const char* argument) {
  // A stride that leads nowhere may be any number, and the product with a row's index must not overflow.
  const bool strided = matrix.size(0) > 1 && matrix.size(1) > 0;
  return {matrix.const_data_ptr(), dtype_of(matrix, argument), matrix.size(0), matrix.size(1),
          strided ? matrix.stride(0) : matrix.size(1)};
}

// A CSR matrix that keeps its indices, adjacent: views of it hold as long as it does.
class PackedCsr : public CsrView {
 public:
  PackedCsr(const Tensor& crow_indices, const Tensor& col_indices, int64_t columns)
      : crow_indices_(packed(crow_indices)), col_indices_(packed(col_indices)) {
    crow = static_cast<const int64_t*>(crow_indices_.const_data_ptr());
    col = static_cast<const int64_t*>(col_indices_.const_data_ptr());
    rows = crow_indices.size(0) - 1;
    cols = columns;
    nnz = col_indices.size(0);
  }

 private:
  Tensor crow_indices_;
  Tensor col_indices_;
};

inline Tensor new_indices(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef shape) {
  return new_tensor(like, shape, ScalarType::Long);
}

inline int64_t* indices_data(const Tensor& tensor) { return static_cast<int64_t*>(tensor.mutable_data_ptr()); }

}  // namespace salt
