"""Checks of an op's arguments that its kernels cannot make.

An eager call is checked once, by the kernels. While torch traces no kernel runs, so the fake kernels make the same
checks here, one function per op, of what metadata tell. And what is no strided tensor never reaches a kernel: the typed
functions refuse it by `strided`, before torch's dispatcher would in words of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from salt_ext.errors import InputError

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def strided(**arguments: Tensor | None) -> None:
    """Refuses what is no tensor (TypeError) or a sparse one (InputError), by its name; None is an argument left out."""
    for name, value in arguments.items():
        if value is not None:
            _strided(name, value)


def _strided(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: found {type(value).__name__}, expected a torch.Tensor")
    if value.layout != torch.strided:
        raise InputError(f"{name}: found layout {value.layout}, expected torch.strided")


def _tensor(name: str, value: Tensor, dimensions: int) -> None:
    _strided(name, value)
    if value.dim() != dimensions:
        raise InputError(f"{name}: found {value.dim()} dimensions, expected {dimensions}")


def _floats(name: str, value: Tensor, dimensions: int) -> None:
    _tensor(name, value, dimensions)
    if value.dtype not in FLOATS:
        raise InputError(f"{name}: found {value.dtype}, expected float32, float64, float16 or bfloat16")


def _equal(name: str, found: object, expected: object, what: str, other: str) -> None:
    if found != expected:
        raise InputError(f"{name}: found {what} {found}, expected {expected} as {other}")


def _pair(a_name: str, a: Tensor, b_name: str, b: Tensor) -> None:
    """Two matrices of one dtype, device and width."""
    _floats(a_name, a, 2)
    _floats(b_name, b, 2)
    _equal(b_name, b.dtype, a.dtype, "dtype", a_name)
    _equal(b_name, b.device, a.device, "device", a_name)
    _equal(b_name, b.shape[1], a.shape[1], "width", a_name)


def _csr(crow_indices: Tensor, col_indices: Tensor) -> None:
    for name, value in (("crow_indices", crow_indices), ("col_indices", col_indices)):
        _tensor(name, value, 1)
        if value.dtype != torch.int64:
            raise InputError(f"{name}: found {value.dtype}, expected torch.int64")
    if crow_indices.shape[0] < 1:
        raise InputError("crow_indices: found length 0, expected one more than the number of rows")
    _equal("col_indices", col_indices.device, crow_indices.device, "device", "crow_indices")


def _one_row_each(crow_indices: Tensor, name: str, matrix: Tensor) -> None:
    length, rows = crow_indices.shape[0], matrix.shape[0]
    if length != rows + 1:
        raise InputError(f"crow_indices: found length {length}, expected {rows + 1} (one more than the rows of {name})")


def _option(name: str, value: float, *, positive: bool = False) -> None:
    good = math.isfinite(value) and (value > 0 if positive else value >= 0)
    if not good:
        bound = "above 0" if positive else "of at least 0"
        raise InputError(f"{name}: found {value}, expected a finite number {bound}")


def _solver_options(ridge: float, rcond: float | None) -> None:
    _option("ridge", ridge)
    if rcond is not None:
        _option("rcond", rcond)


def cosine_sparsemax(queries: Tensor, keys: Tensor, temperature: float) -> None:
    _pair("queries", queries, "keys", keys)
    _option("temperature", temperature, positive=True)


def cosine_topk(queries: Tensor, keys: Tensor, k: int) -> None:
    _pair("queries", queries, "keys", keys)
    if not 1 <= k <= keys.shape[0]:
        raise InputError(f"k: found {k}, expected 1 to {keys.shape[0]} (the rows of keys)")


def lstsq_weights(
    crow_indices: Tensor,
    col_indices: Tensor,
    queries: Tensor,
    anchors: Tensor,
    sample_weights: Tensor | None,
    ridge: float,
    rcond: float | None,
) -> None:
    _csr(crow_indices, col_indices)
    _pair("queries", queries, "anchors", anchors)
    _equal("queries", queries.device, crow_indices.device, "device", "crow_indices")
    _one_row_each(crow_indices, "queries", queries)
    if sample_weights is not None:
        _floats("sample_weights", sample_weights, 1)
        _equal("sample_weights", sample_weights.shape[0], col_indices.shape[0], "length", "col_indices")
        _equal("sample_weights", sample_weights.device, queries.device, "device", "queries")
    _solver_options(ridge, rcond)


def csr_matmul(crow_indices: Tensor, col_indices: Tensor, values: Tensor, dense: Tensor) -> None:
    _csr(crow_indices, col_indices)
    _floats("values", values, 1)
    _floats("dense", dense, 2)
    _equal("values", values.shape[0], col_indices.shape[0], "length", "col_indices")
    _equal("values", values.device, crow_indices.device, "device", "crow_indices")
    _equal("dense", dense.device, crow_indices.device, "device", "crow_indices")


def csr_sampled_matmul(crow_indices: Tensor, col_indices: Tensor, lhs: Tensor, rhs: Tensor) -> None:
    _csr(crow_indices, col_indices)
    _pair("lhs", lhs, "rhs", rhs)
    _one_row_each(crow_indices, "lhs", lhs)


def omp(queries: Tensor, atoms: Tensor, k: int, tolerance: float) -> None:
    _pair("queries", queries, "atoms", atoms)
    if k < 1:
        raise InputError(f"k: found {k}, expected at least 1")
    _option("tolerance", tolerance)


def transfer(
    aux_new: Tensor,
    aux_shared: Tensor,
    donor_new: Tensor,
    donor_shared: Tensor,
    source_shared: Tensor,
    temperature: float,
    ridge: float,
    rcond: float | None,
) -> None:
    _pair("aux_new", aux_new, "aux_shared", aux_shared)
    _pair("donor_new", donor_new, "donor_shared", donor_shared)
    _floats("source_shared", source_shared, 2)
    _equal("donor_new", donor_new.shape[0], aux_new.shape[0], "row count", "aux_new")
    _equal("donor_shared", donor_shared.shape[0], aux_shared.shape[0], "row count", "aux_shared")
    _equal("source_shared", source_shared.shape[0], aux_shared.shape[0], "row count", "aux_shared")
    _equal("donor_new", donor_new.device, aux_new.device, "device", "aux_new")
    _equal("source_shared", source_shared.device, aux_new.device, "device", "aux_new")
    _option("temperature", temperature, positive=True)
    _solver_options(ridge, rcond)
