"""The search by bounds of eight-bit products: what it finds is what float32 finds, to the bit, and what is true."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracles import sparsemax
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import loader as _loader

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif("avx512_vnni" not in _loader.runnable_cpu_isas(), reason="this CPU has no AVX512-VNNI"),
]

Rows = tuple[Tensor, Tensor]


def both_ways(run: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The result, once it is the same with and without eight-bit products."""
    before, results = _loader.cpu_isa(), []
    for isa in ("avx512", "avx512_vnni"):
        _loader.set_cpu_isa(isa)
        results.append(run())
    _loader.set_cpu_isa(before)
    for float32, eight_bits in zip(*results, strict=True):
        assert torch.equal(float32, eight_bits)
    return results[1]


def clustered(queries: int, keys: int, depth: int) -> Rows:
    rows = torch.randn(20, depth)[torch.randint(20, (queries + keys,))] + 1.3 * torch.randn(queries + keys, depth)
    return rows[:queries], rows[queries:]


def with_one_large_element() -> Rows:
    """It takes all of the eight bits: what is left for the others bounds nothing."""
    queries, keys = clustered(60, 900, 96)
    queries[::3, 5] = 300
    keys[::2, 5] = 300
    return queries, keys


def of_every_size() -> Rows:
    queries, keys = clustered(60, 900, 96)
    keys *= torch.logspace(-44, 36, 900)[torch.randperm(900), None]
    queries *= torch.logspace(-44, 36, 60)[:, None]
    keys[:200] = queries[3] = 0
    return queries, keys


def equal() -> Rows:
    queries, keys = clustered(40, 700, 65)
    keys[:] = keys[0].clone()
    return queries, keys


def twice() -> Rows:
    queries, keys = clustered(40, 700, 67)
    keys[350:] = keys[:350].clone()
    keys[:20] = 3 * queries[:20]
    return queries, keys


def nearly_equal() -> Rows:
    """A thousand keys closer to each other than eight bits can tell."""
    queries = torch.randn(30, 80)
    return queries, torch.nn.functional.normalize(queries[0], dim=0) + 1e-4 * torch.randn(1000, 80)


def whole_numbers() -> Rows:
    """Eight bits hold them without any error: only the rounding of float32 blurs the bounds, and it decides here."""
    queries = torch.full((30, 8192), 127.0)
    queries[:, 0] = torch.arange(30) + 97
    row = torch.randint(60, 127, (8192,))
    row[0] = 127
    return queries, row[torch.rand(200, 8192).argsort(dim=1)].float()


DATA: dict[str, Callable[[], Rows]] = {
    "clusters": lambda: clustered(500, 1300, 300),
    "fewer keys than a tile": lambda: clustered(50, 45, 64),
    "rows that end anywhere": lambda: clustered(41, 333, 101),
    "deeper than a split": lambda: clustered(30, 300, 1200),
    "one large element": with_one_large_element,
    "every size": of_every_size,
    "all keys equal": equal,
    "every key twice": twice,
    "nearly equal keys": nearly_equal,
    "whole numbers": whole_numbers,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", DATA)
def test_the_search_gives_what_float32_gives(name: str, dtype: torch.dtype) -> None:
    queries, keys = (
        rows.clamp(-6e4, 6e4).to(dtype) if dtype is torch.float16 else rows.to(dtype) for rows in DATA[name]()
    )
    for temperature in (1e-12, 0.1, 1.0, 30.0):
        both_ways(lambda: ops.cosine_sparsemax(queries, keys, temperature=temperature))  # noqa: B023
    for k in (1, 10, len(keys)):
        both_ways(lambda: ops.cosine_topk(queries, keys, k))  # noqa: B023


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", DATA)
def test_pursuit_chooses_what_float32_chooses(name: str, dtype: torch.dtype) -> None:
    queries, atoms = DATA[name]()
    queries, atoms = (
        rows.clamp(-6e4, 6e4).to(dtype) if dtype is torch.float16 else rows.to(dtype) for rows in (queries, atoms)
    )
    both_ways(lambda: ops.omp(queries[:60], atoms, 12))


def test_supports_and_ranks_are_the_true_ones() -> None:
    queries, keys = clustered(300, 2000, 96)
    q, k = (unit / np.linalg.norm(unit, axis=1)[:, None] for unit in (queries.double().numpy(), keys.double().numpy()))
    z = q @ k.T
    weights = sparsemax(z)
    crow, col, values = ops.cosine_sparsemax(queries, keys)
    row = torch.repeat_interleave(torch.arange(300), crow.diff()).numpy()
    assert np.array_equal(np.stack([row, col.numpy()]), np.stack(np.nonzero(weights)))
    assert np.abs(values.numpy() - weights[row, col.numpy()]).max() < 1e-7
    found, indices = ops.cosine_topk(queries, keys, 10)
    assert np.abs(found.numpy() - -np.sort(-z, axis=1)[:, :10]).max() < 1e-6
    assert np.abs(np.take_along_axis(z, indices.numpy(), 1) - found.numpy()).max() < 1e-6


def test_the_first_atom_is_the_true_one() -> None:
    queries, atoms = torch.randn(200, 130), torch.randn(3000, 130) * torch.rand(3000, 1)
    products = np.abs(queries.double().numpy() @ atoms.double().numpy().T)
    gap = np.diff(np.sort(products, axis=1)[:, -2:]).min()
    assert gap > 1e-4  # else float32 may choose otherwise
    assert np.array_equal(ops.omp(queries, atoms, 1)[0][:, 0].numpy(), products.argmax(1))


def test_the_number_of_queries_and_threads_changes_nothing() -> None:
    """Few queries are not worth packing the keys for: float32 scores them."""
    queries, keys = clustered(230, 900, 100)
    runs: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
        "topk": lambda rows: ops.cosine_topk(rows, keys, 9),
        "omp": lambda rows: ops.omp(rows, keys, 7),
    }
    for run in runs.values():
        together = run(queries)
        for parts in (torch.arange(230).split(5), torch.arange(230).split(100)):
            alone = [run(queries[part]) for part in parts]
            for whole, pieces in zip(together, zip(*alone, strict=True), strict=True):
                assert torch.equal(whole, torch.cat(pieces))
        torch.set_num_threads(2)
        for one, two in zip(together, run(queries), strict=True):
            assert torch.equal(one, two)
        torch.set_num_threads(1)
