// Every schema of the library `salt`, in one place. Contracts: the header of the same name beside this file.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(salt, m) {
  // [Q,D] x [K,D] -> canonical CSR [Q,K] of sparsemax(cosine / temperature): cosine_sparsemax.h
  m.def(
      "cosine_sparsemax(Tensor queries, Tensor keys, *, float temperature=1.0) "
      "-> (Tensor crow_indices, Tensor col_indices, Tensor values)");
  // [Q,D] x [K,D] -> the k most similar keys, [Q,k] values and indices: cosine_topk.h
  m.def("cosine_topk(Tensor queries, Tensor keys, int k) -> (Tensor values, Tensor indices)");
  // Weights of each query on its support by (ridge, affine, weighted) least squares, in CSR order: lstsq_weights.h
  m.def(
      "lstsq_weights(Tensor crow_indices, Tensor col_indices, Tensor queries, Tensor anchors, *, "
      "Tensor? sample_weights=None, float ridge=0.0, bool intercept=False, float? rcond=None) -> Tensor values");
  // CSR [Q,K] times dense [K,H] -> [Q,H]: csr_matmul.h
  m.def("csr_matmul(Tensor crow_indices, Tensor col_indices, Tensor values, Tensor dense) -> Tensor");
  // values[e] = lhs[row of e] . rhs[column of e], the gradient of csr_matmul in its values: csr_matmul.h
  m.def("_csr_sampled_matmul(Tensor crow_indices, Tensor col_indices, Tensor lhs, Tensor rhs) -> Tensor values");
  // Orthogonal matching pursuit of [Q,D] over atoms [K,D] -> [Q,k] indices and weights: omp.h
  m.def("omp(Tensor queries, Tensor atoms, int k, *, float tolerance=0.0) -> (Tensor indices, Tensor weights)");
  // cosine_sparsemax -> lstsq_weights -> csr_matmul, fused by blocks of rows: transfer.h
  m.def(
      "transfer(Tensor aux_new, Tensor aux_shared, Tensor donor_new, Tensor donor_shared, Tensor source_shared, *, "
      "float temperature=1.0, float ridge=0.0, bool intercept=False, float? rcond=None) -> Tensor");
}
