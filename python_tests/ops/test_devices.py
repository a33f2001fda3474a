"""CPU against CUDA on the same inputs, within the bounds that both keep to the float64 definitions.

The CPU's results come from a process of their own, this file run as a script: with --cuda-on-cpu the CUDA kernels have
taken the place of the CPU's in the process of the tests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from salt_ext import ops

BOUNDS = {torch.float32: 1e-4, torch.float64: 1e-10, torch.float16: 2e-2, torch.bfloat16: 2e-2}
Call = tuple[Callable[..., Any], list[Any], dict[str, Any]]


class Maker:
    """Random inputs of one case, the same in every process: from its own generator, on the CPU."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.generator = torch.Generator().manual_seed(sum(name.encode()))
        self.dtype = dtype

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device="cpu").to(self.dtype)

    def clustered(self, rows: int, depth: int) -> Tensor:
        centres = torch.randint(20, (rows,), generator=self.generator, device="cpu")
        return self.normal(20, depth)[centres] + (1.3 * self.normal(rows, depth)).to(self.dtype)

    def csr(self, sizes: list[int], keys: int) -> tuple[Tensor, Tensor]:
        rows = [torch.randperm(keys, generator=self.generator, device="cpu")[:size].sort().values for size in sizes]
        crow = torch.tensor([0, *sizes], device="cpu").cumsum(0)
        return crow, torch.cat([torch.empty(0, dtype=torch.int64, device="cpu"), *rows])


def sparsemax(queries: int, keys: int, depth: int, **options: float) -> Callable[[Maker], Call]:
    return lambda make: (ops.cosine_sparsemax, [make.clustered(queries, depth), make.clustered(keys, depth)], options)


def topk(queries: int, keys: int, depth: int, k: int) -> Callable[[Maker], Call]:
    return lambda make: (ops.cosine_topk, [make.clustered(queries, depth), make.clustered(keys, depth), k], {})


def lstsq(sizes: list[int], keys: int, width: int, *, twins: bool = False, **options: Any) -> Callable[[Maker], Call]:
    def call(make: Maker) -> Call:
        crow, col = make.csr(sizes, keys)
        anchors = make.normal(keys, width)
        if twins:
            anchors[1::2] = anchors[::2]
        return ops.lstsq_weights, [crow, col, make.normal(len(sizes), width), anchors], options

    return call


def matmul(sizes: list[int], keys: int, width: int) -> Callable[[Maker], Call]:
    def call(make: Maker) -> Call:
        crow, col = make.csr(sizes, keys)
        return ops.csr_matmul, [crow, col, make.normal(len(col)), make.normal(keys, width)], {}

    return call


def omp(queries: int, atoms: int, depth: int, k: int, **options: float) -> Callable[[Maker], Call]:
    return lambda make: (ops.omp, [make.normal(queries, depth), make.normal(atoms, depth), k], options)


def transfer(queries: int, anchors: int, **options: Any) -> Callable[[Maker], Call]:
    def call(make: Maker) -> Call:
        aux = [make.clustered(queries, 24), make.clustered(anchors, 24)]
        donor = [make.normal(queries, 64), make.normal(anchors, 64)]
        return ops.transfer, [*aux, *donor, make.normal(anchors, 33)], options

    return call


CASES: dict[str, Callable[[Maker], Call]] = {
    "sparsemax": sparsemax(150, 700, 50),
    "sparsemax, cold": sparsemax(40, 300, 20, temperature=0.05),
    "sparsemax, every key": sparsemax(3, 500, 8, temperature=100.0),
    "sparsemax, one key": sparsemax(5, 1, 7),
    "sparsemax, no keys": sparsemax(5, 0, 7),
    "sparsemax, no queries": sparsemax(0, 5, 7),
    "topk": topk(60, 500, 50, 20),
    "topk, every key": topk(4, 90, 12, 90),
    "topk, one key": topk(5, 1, 7, 1),
    "lstsq, k around h": lstsq([1, 0, 2, 24, 23, 25, 12, 60, 0, 120, 1], 128, 24),
    "lstsq, large k": lstsq([140, 65, 200, 129], 256, 160),
    "lstsq, twins": lstsq([6, 40, 0, 90, 17], 96, 30, twins=True),
    "lstsq, ridge and intercept": lstsq([1, 5, 0, 40], 64, 24, ridge=0.3, intercept=True),
    "lstsq, one key": lstsq([1, 0, 1], 1, 5),
    "lstsq, one dimension": lstsq([1, 2, 7], 9, 1),
    "lstsq, many rows of one": lstsq([1] * 2000, 50, 4),
    "lstsq, no rows": lstsq([], 4, 3),
    "matmul": matmul([0, 1, 5, 300, 0, 33], 400, 257),
    "matmul, many rows of one": matmul([1] * 2000, 50, 3),
    "omp": omp(12, 200, 40, 16),
    "omp, tolerance": omp(12, 200, 40, 16, tolerance=0.4),
    "omp, more than there are": omp(3, 5, 8, 20),
    "transfer": transfer(60, 300),
    "transfer, cold": transfer(20, 300, temperature=0.3),
    "transfer, ridge and intercept": transfer(20, 300, ridge=0.5, intercept=True),
    "transfer, one anchor": transfer(4, 1),
    "transfer, no anchors": transfer(4, 0),
}


def run(name: str, dtype: torch.dtype, home: str) -> tuple[list[Tensor], list[Tensor]]:
    """What an op returns for a case: whole numbers, and every row of the others."""
    op, args, options = CASES[name](Maker(name, dtype))
    found = op(*(value.to(home) if isinstance(value, Tensor) else value for value in args), **options)
    outputs = [value.cpu() for value in (found if isinstance(found, tuple) else (found,))]
    exact = [value for value in outputs if not value.is_floating_point()]
    (inexact,) = [value for value in outputs if value.is_floating_point()]
    if inexact.dim() == 2:
        return exact, list(inexact)
    crow = exact[0] if exact else args[0]
    return exact, list(inexact.split(crow.diff().tolist()))


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
    file = tmp_path_factory.mktemp("devices") / "cpu.pt"
    subprocess.run([sys.executable, __file__, file], check=True)
    results: dict[str, tuple[list[Tensor], list[Tensor]]] = torch.load(file)
    return results


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
@pytest.mark.parametrize("name", CASES)
def test_cuda_equals_cpu(name: str, dtype: torch.dtype, on_cpu: dict[str, tuple[list[Tensor], list[Tensor]]]) -> None:
    expected_exact, expected_rows = on_cpu[key(name, dtype)]
    exact, rows = run(name, dtype, "cuda")
    assert [value.tolist() for value in exact] == [value.tolist() for value in expected_exact]
    assert [row.shape for row in rows] == [row.shape for row in expected_rows]
    for found, expected in zip(rows, expected_rows, strict=True):
        assert found.dtype == dtype
        assert (found.double() - expected.double()).norm() <= BOUNDS[dtype] * expected.double().norm()


def key(name: str, dtype: torch.dtype) -> str:
    return f"{name}, {dtype}"


if __name__ == "__main__":
    torch.save({key(name, dtype): run(name, dtype, "cpu") for dtype in BOUNDS for name in CASES}, Path(sys.argv[1]))
