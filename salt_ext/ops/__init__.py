"""The operators, `torch.ops.salt.*`: typed functions, their checks, fake kernels and float64 reference."""

from __future__ import annotations

from salt_ext.ops.loader import Backend, backends  # first: it refuses a torch that is too old
from salt_ext.ops.operators import cosine_sparsemax, cosine_topk, csr_matmul, lstsq_weights, omp, transfer

__all__ = [
    "Backend",
    "backends",
    "cosine_sparsemax",
    "cosine_topk",
    "csr_matmul",
    "lstsq_weights",
    "omp",
    "transfer",
]
