"""Every combination of sizes 0, 1 and 2: what is empty has an answer too, the float64 reference's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch

from salt_ext import ops
from salt_ext.ops import reference

SIZES = (0, 1, 2)


def matrix(rows: int, cols: int) -> torch.Tensor:
    return torch.randn(rows, cols, dtype=torch.float64)


def same(op: str, *args: Any, **options: Any) -> None:
    found = getattr(ops, op)(*args, **options)
    with torch.device("cpu"):  # the reference makes what is empty on the default device
        given = [arg.cpu() if isinstance(arg, torch.Tensor) else arg for arg in args]
        kept = {name: arg.cpu() if isinstance(arg, torch.Tensor) else arg for name, arg in options.items()}
        right = getattr(reference, op)(*given, **kept)
    for one, two in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, right)), strict=True):
        torch.testing.assert_close(one.cpu(), two, rtol=1e-6, atol=1e-9, msg=lambda text: f"{op}, {args}: {text}")


def csr(rows: int, cols: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """No entry at all, and all that there can be."""
    for entries in {0, cols}:
        yield torch.arange(rows + 1) * entries, torch.arange(entries).repeat(rows)


def sparsemax(q: int, k: int, d: int) -> None:
    same("cosine_sparsemax", matrix(q, d), matrix(k, d))


def topk(q: int, k: int, d: int) -> None:
    for most in range(1, k + 1):
        queries, keys = matrix(q, d), matrix(k, d)
        values, indices = ops.cosine_topk(queries, keys, most)
        right, places = reference.cosine_topk(queries.cpu(), keys.cpu(), most)
        torch.testing.assert_close(values.cpu(), right)
        # In one dimension all are equal but for rounding, which decides who is first.
        assert torch.equal(indices.cpu() < 0, places < 0)
    with pytest.raises(ValueError, match="k: found"):
        ops.cosine_topk(matrix(q, d), matrix(k, d), k + 1)


def weights(q: int, k: int, h: int) -> None:
    for indices, intercept in product(csr(q, k), (False, True)):
        p = torch.ones(indices[1].shape[0])
        same("lstsq_weights", *indices, matrix(q, h), matrix(k, h), intercept=intercept, ridge=0.1)
        same("lstsq_weights", *indices, matrix(q, h), matrix(k, h), intercept=intercept, sample_weights=p)


def matmul(q: int, k: int, h: int) -> None:
    for indices in csr(q, k):
        same("csr_matmul", *indices, matrix(1, indices[1].shape[0])[0], matrix(k, h))


def pursuit(q: int, k: int, d: int) -> None:
    for most in (1, 3, 1000):
        same("omp", matrix(q, d), matrix(k, d), most)


def transfer(q: int, k: int, d: int) -> None:
    for h, width in product(SIZES, SIZES):
        tables = matrix(q, h), matrix(k, h), matrix(k, width)
        same("transfer", matrix(q, d), matrix(k, d), *tables, ridge=0.1)
        same("transfer", matrix(q, d), matrix(k, d), *tables, ridge=0.1, intercept=True)


@pytest.mark.parametrize("of_size", [sparsemax, topk, weights, matmul, pursuit, transfer])
def test_sizes_from_nothing_on(of_size: Callable[[int, int, int], None]) -> None:
    for sizes in product(SIZES, SIZES, SIZES):
        of_size(*sizes)


@pytest.mark.torch_machinery
def test_gradients_of_sizes_from_nothing_on() -> None:
    for q, k, h in product(SIZES, SIZES, SIZES):
        for indices in csr(q, k):
            values, dense = matrix(1, indices[1].shape[0])[0].requires_grad_(), matrix(k, h).requires_grad_()
            ones = torch.ones(q, h, dtype=torch.float64)
            found = torch.autograd.grad(ops.csr_matmul(*indices, values, dense), (values, dense), ones)
            right = torch.autograd.grad(reference.csr_matmul(*indices, values, dense), (values, dense), ones)
            torch.testing.assert_close(found, right)
