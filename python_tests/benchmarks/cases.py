"""What `pytest -m perf` times: every op beside torch's own operator of the same bound, scaling, and the whole job.

References share the limit of what they are held against: torch.mm for products, embedding_bag for gathered rows,
a gather and batched Gram matrices for the regressions. What they write lies in memory that is there: fresh pages cost
more on some days than on others. Arrays have W1's widths and fewer rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import vectorised
from harness import Case, again, with_threads
from job import whole_job
from stages import arrays
from torch import Tensor
from torch.nn.functional import normalize

from salt_ext import ops

NEW, ANCHORS, NEAR_ANCHORS = 768, 6144, 512
ATOMS, PURSUITS, CHOSEN = 1024, 384, 16


@cache
def data() -> tuple[Tensor, ...]:
    return arrays(NEW, ANCHORS, 300, 768, 2048)


@cache
def support() -> tuple[Tensor, Tensor, Tensor]:
    """The sparsemax by torch's operators, so that no case depends on another op."""
    return vectorised.sparsemax(*data()[:2])


@cache
def weights() -> Tensor:
    crow, col, _ = support()
    return vectorised.weights(crow, col, *data()[2:4])


@cache
def half_support() -> tuple[Tensor, Tensor, int]:
    crow, col, _ = support()
    end = int(crow[NEW // 2])
    return crow[: NEW // 2 + 1], col[:end], end


def gemm(queries: Tensor, keys: Tensor, times: int = 1) -> Callable[[], None]:
    """torch.mm of all with all, into memory that is there."""
    right, out = normalize(keys).T, torch.empty(len(queries), len(keys))

    def run() -> None:
        for _ in range(times):
            torch.mm(queries, right, out=out)

    return run


def gather_and_gram(col: Tensor, anchors: Tensor) -> Callable[[], None]:
    """The anchors of every row side by side and their products with each other, for rows of mean support."""
    size, batch = len(col) // NEW, 64
    rows = torch.empty(batch * size, anchors.shape[1])
    gram = torch.empty(batch, size, size)
    parts = col[: NEW * size].split(batch * size)

    def run() -> None:
        for part in parts:
            torch.index_select(anchors, 0, part, out=rows)
            batched = rows.view(batch, size, -1)
            torch.bmm(batched, batched.mT, out=gram)

    return run


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    error = float((found - expected).norm() / expected.norm())
    assert error <= tolerance, f"relative error {error:.1e}, allowed {tolerance:.0e}"


def cosine_sparsemax() -> Case:
    new, shared = data()[:2]

    def check(result: tuple[Tensor, Tensor, Tensor]) -> None:
        for found, expected in zip(result[:2], support()[:2], strict=True):
            assert torch.equal(found, expected)
        close(result[2], support()[2], 1e-5)

    return Case(
        "cosine_sparsemax",
        lambda: ops.cosine_sparsemax(new, shared),
        lambda: ops.cosine_sparsemax(new[: NEW // 2], shared),
        gemm(new, shared),
        check,
    )


def cosine_topk() -> Case:
    new, shared = data()[:2]
    expected = torch.mm(normalize(new), normalize(shared).T).topk(10).values
    return Case(
        "cosine_topk",
        lambda: ops.cosine_topk(new, shared, 10),
        lambda: ops.cosine_topk(new[: NEW // 2], shared, 10),
        gemm(new, shared),
        lambda result: close(result[0], expected, 1e-5),
    )


def lstsq_weights() -> Case:
    """Few anchors, which stay in the cache: memory is as fast as neighbours let it be; `transfer` gathers widely."""
    new, shared = data()[2], data()[3][:NEAR_ANCHORS]
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(8, 41, (NEW,), generator=generator)
    order = torch.rand(NEW, NEAR_ANCHORS, generator=generator).argsort(dim=1)
    col = torch.cat([row[:size].sort().values for row, size in zip(order, sizes.tolist(), strict=True)])
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    few = crow[: NEW // 2 + 1]
    expected = vectorised.weights(crow, col, new, shared)
    return Case(
        "lstsq_weights",
        again(4, lambda: ops.lstsq_weights(crow, col, new, shared)),
        again(4, lambda: ops.lstsq_weights(few, col[: few[-1]], new[: NEW // 2], shared)),
        again(4, gather_and_gram(col, shared)),
        lambda result: close(result, expected, 1e-4),
    )


def csr_matmul() -> Case:
    crow, col, _ = support()
    few, columns, end = half_support()
    source = data()[4]
    return Case(
        "csr_matmul",
        again(12, lambda: ops.csr_matmul(crow, col, weights(), source)),
        again(12, lambda: ops.csr_matmul(few, columns, weights()[:end], source)),
        again(12, lambda: vectorised.combine(crow, col, weights(), source)),
        lambda result: close(result, vectorised.combine(crow, col, weights(), source), 1e-5),
    )


def omp() -> Case:
    queries, atoms = data()[2][:PURSUITS], data()[3][:ATOMS]

    def check(result: tuple[Tensor, Tensor]) -> None:
        indices, found = result
        chosen = atoms[indices]
        residual = queries - (found[:, None] @ chosen)[:, 0]
        # Least squares: what is left is orthogonal to all that was chosen.
        assert (chosen @ residual[:, :, None]).abs().max() < 1e-2
        assert (indices[:, 0] == (queries @ atoms.T).abs().argmax(1)).all()

    return Case(
        "omp",
        lambda: ops.omp(queries, atoms, CHOSEN),
        lambda: ops.omp(queries[: PURSUITS // 2], atoms, CHOSEN),
        gemm(queries, atoms, CHOSEN),
        check,
    )


def transfer() -> Case:
    few = [tensor[: NEW // 2] if len(tensor) == NEW else tensor for tensor in data()]
    return Case(
        "transfer",
        lambda: ops.transfer(*data()),
        lambda: ops.transfer(*few),
        lambda: vectorised.transfer(*data()),
        lambda result: close(result, vectorised.combine(*support()[:2], weights(), data()[4]), 1e-4),
    )


def on_two_threads(build: Callable[[], Case]) -> Callable[[], Case]:
    """How much faster two threads are than one."""

    def scaling() -> Case:
        case = build()
        alone = case.operation()

        def check(result: Any) -> None:
            case.check(result)
            same = zip(result, alone, strict=True) if isinstance(result, tuple) else [(result, alone)]
            assert all(torch.equal(one, two) for one, two in same), "the number of threads changes the result"

        return Case(
            f"{case.name}, two threads",
            with_threads(2, case.operation),
            with_threads(2, case.half),
            with_threads(1, case.operation),
            check,
        )

    return scaling


def linear() -> Case:
    """Eight calls of an eighth of the rows beside one call of all: a token must not cost more where there are more."""
    rows, keys = arrays(4096, 2048, 300, 8, 8)[:2]
    return Case(
        "cosine_sparsemax, 8 times the rows",
        lambda: ops.cosine_sparsemax(rows, keys),
        lambda: ops.cosine_sparsemax(rows[: len(rows) // 2], keys),
        lambda: [ops.cosine_sparsemax(part, keys) for part in rows.split(len(rows) // 8)],
        lambda result: close(result[2], vectorised.sparsemax(rows, keys)[2], 1e-5),
    )


_OPS: dict[str, Callable[[], Case]] = {
    build.__name__: build for build in (cosine_sparsemax, cosine_topk, lstsq_weights, csr_matmul, omp, transfer)
}
CASES = {
    **_OPS,
    **{f"{name}, two threads": on_two_threads(build) for name, build in _OPS.items()},
    "cosine_sparsemax, 8 times the rows": linear,
    "whole job": whole_job,
}
