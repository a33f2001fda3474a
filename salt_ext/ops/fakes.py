"""What torch needs to trace and differentiate the ops: one fake (meta) kernel per op, and csr_matmul's gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from salt_ext.ops import checks as _checks


def _dynamic_size() -> int | torch.SymInt:
    """A size that only the data decides."""
    return torch.library.get_ctx().new_dynamic_size()


@torch.library.register_fake("salt::cosine_sparsemax")
def _cosine_sparsemax(queries: Tensor, keys: Tensor, *, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    _checks.cosine_sparsemax(queries, keys, temperature)
    nnz = _dynamic_size()
    indices = queries.new_empty(queries.shape[0] + 1, dtype=torch.int64)
    return indices, queries.new_empty(nnz, dtype=torch.int64), queries.new_empty(nnz)


@torch.library.register_fake("salt::cosine_topk")
def _cosine_topk(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    _checks.cosine_topk(queries, keys, k)
    shape = (queries.shape[0], k)
    return queries.new_empty(shape), queries.new_empty(shape, dtype=torch.int64)


@torch.library.register_fake("salt::lstsq_weights")
def _lstsq_weights(
    crow_indices: Tensor,
    col_indices: Tensor,
    queries: Tensor,
    anchors: Tensor,
    *,
    sample_weights: Tensor | None = None,
    ridge: float = 0.0,
    intercept: bool = False,
    rcond: float | None = None,
) -> Tensor:
    _checks.lstsq_weights(crow_indices, col_indices, queries, anchors, sample_weights, ridge, rcond)
    return queries.new_empty(col_indices.shape[0])


@torch.library.register_fake("salt::csr_matmul")
def _csr_matmul(crow_indices: Tensor, col_indices: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    _checks.csr_matmul(crow_indices, col_indices, values, dense)
    return dense.new_empty(crow_indices.shape[0] - 1, dense.shape[1])


@torch.library.register_fake("salt::_csr_sampled_matmul")
def _csr_sampled_matmul(crow_indices: Tensor, col_indices: Tensor, lhs: Tensor, rhs: Tensor) -> Tensor:
    _checks.csr_sampled_matmul(crow_indices, col_indices, lhs, rhs)
    return lhs.new_empty(col_indices.shape[0], dtype=torch.promote_types(lhs.dtype, torch.float32))


@torch.library.register_fake("salt::omp")
def _omp(queries: Tensor, atoms: Tensor, k: int, *, tolerance: float = 0.0) -> tuple[Tensor, Tensor]:
    _checks.omp(queries, atoms, k, tolerance)
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int64), queries.new_empty(shape)


@torch.library.register_fake("salt::transfer")
def _transfer(
    aux_new: Tensor,
    aux_shared: Tensor,
    donor_new: Tensor,
    donor_shared: Tensor,
    source_shared: Tensor,
    *,
    temperature: float = 1.0,
    ridge: float = 0.0,
    intercept: bool = False,
    rcond: float | None = None,
) -> Tensor:
    _checks.transfer(aux_new, aux_shared, donor_new, donor_shared, source_shared, temperature, ridge, rcond)
    return source_shared.new_empty(aux_new.shape[0], source_shared.shape[1])


def _transposed(crow_indices: Tensor, col_indices: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """CSR of the transpose, and the order in which its entries stand in the original (stable, so deterministic)."""
    rows = torch.repeat_interleave(
        torch.arange(crow_indices.shape[0] - 1, device=crow_indices.device),
        crow_indices.diff(),
        output_size=col_indices.shape[0],
    )
    order = torch.argsort(col_indices, stable=True)
    counts = torch.zeros(columns + 1, dtype=torch.int64, device=crow_indices.device)
    counts.scatter_add_(0, col_indices + 1, torch.ones_like(col_indices))
    return counts.cumsum(0), rows[order], order


def _matmul_setup(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _matmul_backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
    crow_indices, col_indices, values, dense = ctx.saved_tensors
    grad_values = grad_dense = None
    if ctx.needs_input_grad[2]:
        sampled = torch.ops.salt._csr_sampled_matmul(crow_indices, col_indices, grad, dense)
        grad_values = sampled.to(values.dtype)
    if ctx.needs_input_grad[3]:
        t_crow, t_col, order = _transposed(crow_indices, col_indices, dense.shape[0])
        grad_dense = torch.ops.salt.csr_matmul(t_crow, t_col, values[order], grad)
    return None, None, grad_values, grad_dense


def _sampled_backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
    crow_indices, col_indices, lhs, rhs = ctx.saved_tensors
    grad_lhs = grad_rhs = None
    if ctx.needs_input_grad[2]:
        grad_lhs = torch.ops.salt.csr_matmul(crow_indices, col_indices, grad, rhs)
    if ctx.needs_input_grad[3]:
        t_crow, t_col, order = _transposed(crow_indices, col_indices, rhs.shape[0])
        grad_rhs = torch.ops.salt.csr_matmul(t_crow, t_col, grad[order], lhs)
    return None, None, grad_lhs, grad_rhs


torch.library.register_autograd("salt::csr_matmul", _matmul_backward, setup_context=_matmul_setup)
torch.library.register_autograd("salt::_csr_sampled_matmul", _sampled_backward, setup_context=_matmul_setup)
