"""lstsq_weights against the float64 definition, and the definition against numpy's pseudo-inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.float16: 2e-3, torch.bfloat16: 1e-2}
OPTIONS = [
    {},
    {"ridge": 0.3},
    {"intercept": True},
    {"intercept": True, "ridge": 3.0},
]


def ragged(sizes: list[int], keys: int) -> tuple[Tensor, Tensor]:
    crow = torch.tensor([0, *sizes]).cumsum(0)
    col = torch.cat([torch.randperm(keys)[:size].sort().values for size in sizes] or [torch.empty(0)]).long()
    return crow, col


def row_errors(crow: Tensor, found: Tensor, expected: Tensor) -> Tensor:
    """||found - expected|| / ||expected|| of every row that has entries."""
    errors = []
    for begin, end in zip(crow[:-1].tolist(), crow[1:].tolist(), strict=True):
        if end > begin:
            gap = (found[begin:end].double() - expected[begin:end].double()).norm()
            errors.append(gap / expected[begin:end].double().norm().clamp_min(1e-30))
    return torch.stack(errors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("h", "sizes"),
    [
        (24, [1, 0, 2, 5, 12, 24, 0, 30, 60, 1]),  # k = 1, empty, k = h, k > h
        (1, [1, 2, 7]),
        (70, [3, 33, 65]),
        (300, [29, 100, 0]),
    ],
)
def test_equals_the_definition(
    dtype: torch.dtype, options: dict[str, float], weighted: bool, h: int, sizes: list[int]
) -> None:
    keys = 128
    # Rows away from the origin, as embeddings are, so that the intercept has something to do.
    anchors = (torch.randn(keys, h) + 0.3 * torch.randn(h)).to(dtype)
    queries = torch.randn(len(sizes), h).to(dtype)
    crow, col = ragged(sizes, keys)
    p = torch.rand(len(col)) + 0.05 if weighted else None
    found = ops.lstsq_weights(crow, col, queries, anchors, sample_weights=p, **options)
    assert found.dtype == dtype
    wide = [queries.double(), anchors.double()]
    cutoff = None if dtype == torch.float64 else max(max(sizes), h) * 1.1920928955078125e-07
    expected = reference.lstsq_weights(crow, col, *wide, sample_weights=p, rcond=cutoff, **options)
    # A k = h row of random numbers may be nearly singular: its own condition number is part of the bound.
    slack = torch.tensor([max(1.0, condition(anchors[col[b:e]]) / 1e3) for b, e in pairs(crow) if e > b])
    assert bool((row_errors(crow, found, expected) <= TOLERANCE[dtype] * slack).all())


# Around the borders of blocks of 16, 32, 64, 96 and 128 unknowns, by anchors and, with more anchors than dimensions, by
# dimensions; widths that are no multiple of a load.
BORDERS = [
    (215, [8, 15, 17, 31, 32, 33, 64, 65, 95, 97, 127, 128, 129, 200]),
    (32, [33, 90]),
    (33, [40, 70]),
    (97, [98, 130]),
    (131, [150, 170]),
]


@pytest.mark.parametrize(
    ("dtype", "options"), [*zip([torch.float32, torch.float64] * 2, OPTIONS, strict=True)], ids=str
)
@pytest.mark.parametrize(("h", "sizes"), BORDERS)
def test_sizes_around_the_borders_of_blocks(
    dtype: torch.dtype, options: dict[str, float], h: int, sizes: list[int]
) -> None:
    anchors = (torch.randn(230, h) + 0.3 * torch.randn(h)).to(dtype)
    queries = torch.randn(len(sizes), h).to(dtype)
    crow, col = ragged(sizes, 230)
    p = torch.rand(len(col)) + 0.05
    found = ops.lstsq_weights(crow, col, queries, anchors, sample_weights=p, **options)
    expected = reference.lstsq_weights(crow, col, queries, anchors, sample_weights=p, **options)
    slack = torch.tensor([max(1.0, condition(anchors[col[b:e]]) / 1e3) for b, e in pairs(crow)])
    assert bool((row_errors(crow, found, expected) <= TOLERANCE[dtype] * slack).all())


def pairs(crow: Tensor) -> list[tuple[int, int]]:
    return list(zip(crow[:-1].tolist(), crow[1:].tolist(), strict=True))


def condition(rows: Tensor) -> float:
    s = torch.linalg.svdvals(rows.double())
    return float(s[0] / s[-1])


@pytest.mark.any_isa
def test_definition_is_numpys_pinv() -> None:
    anchors, queries = torch.randn(40, 9, dtype=torch.float64), torch.randn(4, 9, dtype=torch.float64)
    crow, col = ragged([1, 5, 9, 20], 40)
    found = reference.lstsq_weights(crow, col, queries, anchors)
    for row, (begin, end) in enumerate(pairs(crow)):
        expected = queries[row].cpu().numpy() @ np.linalg.pinv(anchors[col[begin:end]].cpu().numpy())
        assert np.allclose(found[begin:end].cpu().numpy(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("k", [6, 40])
def test_dependent_anchors_give_the_minimum_norm_weights(dtype: torch.dtype, k: int) -> None:
    """Duplicates and exact linear combinations: integer entries, so that the dependence is exact in every dtype."""
    h = 20
    base = torch.randint(-4, 5, (k, h))
    base[1] = base[0]  # a duplicate
    base[3] = base[2] + base[0]  # a combination
    base[4] = 0  # a zero row
    anchors, queries = base.to(dtype), torch.randint(-4, 5, (1, h)).to(dtype)
    crow, col = torch.tensor([0, k]), torch.arange(k)
    found = ops.lstsq_weights(crow, col, queries, anchors)
    expected = queries[0].double().cpu().numpy() @ np.linalg.pinv(anchors.double().cpu().numpy(), rcond=1e-10)
    error = np.linalg.norm(found.double().cpu().numpy() - expected) / np.linalg.norm(expected)
    assert error <= {torch.float32: 1e-4, torch.float64: 1e-10, torch.bfloat16: 1e-2}[dtype]
    assert found[4] == 0
    if k <= h:
        assert abs(float(found[0] - found[1])) <= 1e-6


@pytest.mark.parametrize(("k", "h", "rank"), [(33, 50, 31), (50, 33, 20), (70, 90, 7), (130, 140, 120), (150, 125, 1)])
def test_low_rank_rows_of_many_sizes(k: int, h: int, rank: int) -> None:
    """Products of small integers, whose rank is exact."""
    anchors = torch.randint(-3, 4, (k, rank)).double() @ torch.randint(-3, 4, (rank, h)).double()
    queries = torch.randint(-3, 4, (2, h)).double()
    # A row that needs no singular values on either side.
    crow, col = torch.tensor([0, 1, k + 1]), torch.cat([torch.tensor([1]), torch.arange(k)])
    found = ops.lstsq_weights(crow, col, queries, anchors)
    expected = reference.lstsq_weights(crow, col, queries, anchors, rcond=1e-10)
    assert bool((row_errors(crow, found, expected) <= 1e-10).all())
    p = torch.rand(k + 1) + 0.1
    weighted = ops.lstsq_weights(crow, col, queries, anchors, sample_weights=p, ridge=0.01, intercept=True)
    expected = reference.lstsq_weights(crow, col, queries, anchors, sample_weights=p, ridge=0.01, intercept=True)
    assert bool((row_errors(crow, weighted, expected) <= 1e-10).all())


def with_singular_values(s: Tensor, h: int) -> tuple[Tensor, Tensor]:
    """A matrix [len(s), h] of these singular values, and its right singular vectors [len(s), h]; float64."""
    u = torch.linalg.qr(torch.randn(len(s), len(s), dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(h, len(s), dtype=torch.float64)).Q
    return (u * s) @ v.T, v.T


@pytest.mark.parametrize(
    ("k", "h", "smallest"), [(20, 40, -3), (40, 20, -3), (100, 130, -2.7), (130, 100, -2.7), (140, 150, -2.5)]
)
def test_float64_rows_of_moderate_condition_keep_their_digits(k: int, h: int, smallest: float) -> None:
    """Solving through the Gram matrix alone would square the condition number of 1e3 and leave 1e-10."""
    wide, _ = with_singular_values(torch.logspace(0, smallest, min(k, h), dtype=torch.float64), max(k, h))
    anchors = wide if k < h else wide.T.contiguous()
    queries = torch.randn(1, anchors.shape[1], dtype=torch.float64)
    found = ops.lstsq_weights(torch.tensor([0, k]), torch.arange(k), queries, anchors)
    expected = queries[0].cpu().numpy() @ np.linalg.pinv(anchors.cpu().numpy())
    assert np.linalg.norm(found.cpu().numpy() - expected) <= 3e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smallest", [-11, -2])
def test_rcond_drops_the_singular_values_that_pinv_drops(dtype: torch.dtype, smallest: int) -> None:
    k, h = 12, 30
    s = torch.logspace(0, smallest, k, dtype=torch.float64)
    wide, v = with_singular_values(s, h)
    anchors = wide.to(dtype)
    queries = (torch.randn(1, k, dtype=torch.float64) * s @ v).to(dtype)
    crow, col = torch.tensor([0, k]), torch.arange(k)
    for rcond in [3e-1, 3e-3, 3e-5] + ([3e-7, 3e-9] if dtype == torch.float64 else []):
        found = ops.lstsq_weights(crow, col, queries, anchors, rcond=rcond)
        expected = queries[0].double().cpu().numpy() @ np.linalg.pinv(anchors.double().cpu().numpy(), rcond=rcond)
        error = np.linalg.norm(found.double().cpu().numpy() - expected) / np.linalg.norm(expected)
        # The condition number of what is kept is 1 / rcond at most: that much of the rounding is the data's own.
        assert error <= (1e-4 if dtype == torch.float32 else 1e-15 / rcond + 1e-12)


def test_own_anchor_gets_exactly_the_unit_vector() -> None:
    anchors = torch.randn(150, 180)
    crow, col = ragged([7, 20, 33, 70, 140], 150)
    queries = torch.stack([anchors[col[begin + 2]] for begin, _ in pairs(crow)])
    found = ops.lstsq_weights(crow, col, queries, anchors)
    for begin, end in pairs(crow):
        unit = torch.zeros(end - begin)
        unit[2] = 1
        assert torch.equal(found[begin:end], unit)


def test_own_anchor_that_has_a_twin_shares_with_it() -> None:
    anchors = torch.randn(5, 16)
    anchors[3] = anchors[1]
    found = ops.lstsq_weights(torch.tensor([0, 5]), torch.arange(5), anchors[1:2], anchors)
    assert (found - torch.tensor([0, 0.5, 0, 0.5, 0])).abs().max() < 1e-6


def test_infinite_ridge_with_intercept_is_focus() -> None:
    """Dobler & de Melo 2023: the weighted mean of the anchors, with the sparsemax weights themselves."""
    both = torch.randn(20 + 200, 16)
    crow, col, p = ops.cosine_sparsemax(both[:20], both[20:])
    found = ops.lstsq_weights(crow, col, both[:20], both[20:], sample_weights=p, ridge=1e9, intercept=True)
    assert (found - p).abs().max() < 1e-6


def test_intercept_weights_sum_to_one() -> None:
    crow, col = ragged([1, 4, 30, 50], 60)
    found = ops.lstsq_weights(crow, col, torch.randn(4, 24), torch.randn(60, 24), intercept=True, ridge=0.1)
    for begin, end in pairs(crow):
        assert abs(float(found[begin:end].double().sum()) - 1) < 1e-5


@pytest.mark.parametrize(("k", "h"), [(3, 4), (40, 50), (50, 40)])
def test_all_zero_anchors_get_zero_weights(k: int, h: int) -> None:
    crow, col = torch.tensor([0, k]), torch.arange(k)
    assert ops.lstsq_weights(crow, col, torch.ones(1, h), torch.zeros(k, h)).tolist() == [0] * k
    affine = ops.lstsq_weights(crow, col, torch.ones(1, h), torch.zeros(k, h), intercept=True)
    assert (affine - 1 / k).abs().max() < 1e-7
    p = torch.rand(k) + 0.1
    affine = ops.lstsq_weights(crow, col, torch.ones(1, h), torch.zeros(k, h), sample_weights=p, intercept=True)
    assert (affine - p / p.sum()).abs().max() < 1e-7


@pytest.mark.parametrize(("q", "k", "h"), [(0, 5, 4), (3, 0, 4), (3, 5, 0)])
def test_empty_inputs(q: int, k: int, h: int) -> None:
    crow, col = torch.zeros(q + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    assert ops.lstsq_weights(crow, col, torch.zeros(q, h), torch.zeros(k, h)).shape == (0,)


def test_no_dimensions_leaves_zero_weights() -> None:
    crow, col = torch.tensor([0, 2]), torch.tensor([0, 1])
    assert ops.lstsq_weights(crow, col, torch.zeros(1, 0), torch.zeros(2, 0)).tolist() == [0, 0]


def test_a_million_rows_of_one_anchor(home: str) -> None:
    rows = 10_000 if home == "cuda-on-cpu" else 1_000_000
    anchors = torch.randn(1000, 4)
    col = torch.arange(rows) % 1000
    queries = 2 * anchors.repeat(rows // 1000, 1)
    found = ops.lstsq_weights(torch.arange(rows + 1), col, queries, anchors)
    assert (found - 2).abs().max() < 1e-5


def test_threads_and_strides_do_not_change_a_bit() -> None:
    crow, col = ragged([int(s) for s in torch.randint(0, 60, (200,))], 300)
    queries, anchors = torch.randn(200, 48), torch.randn(300, 48)
    torch.set_num_threads(1)
    one = ops.lstsq_weights(crow, col, queries, anchors)
    torch.set_num_threads(2)
    assert torch.equal(ops.lstsq_weights(crow, col, queries, anchors), one)
    wide = torch.zeros(300, 50)[:, 1:49]
    wide.copy_(anchors)
    columns = torch.zeros(2 * len(col), dtype=torch.int64)[::2]
    columns.copy_(col)
    assert torch.equal(ops.lstsq_weights(crow, columns, queries.T.contiguous().T, wide), one)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_does_not_depend_on_the_rows_around_it(weighted: bool) -> None:
    """Rows that share anchors are solved together; alone, each must get the same bits."""
    sizes = [0, 1, 2, 97, *torch.randint(20, 40, (40,)).tolist()]
    crow, _ = ragged(sizes, 120)
    # Two clusters of 60 anchors, whose rows share most of them; 97 is more than a group takes.
    starts = torch.randint(2, (len(sizes),)) * 60
    col = torch.cat(
        [
            torch.randperm(min(120, max(60, k)))[:k].sort().values + (s if k <= 60 else 0)
            for k, s in zip(sizes, starts, strict=True)
        ]
    )
    queries, anchors = torch.randn(len(sizes), 401), torch.randn(120, 401)
    p = torch.rand(len(col)) + 0.1 if weighted else None
    together = ops.lstsq_weights(crow, col, queries, anchors, sample_weights=p)
    for row, (begin, end) in enumerate(pairs(crow)):
        own = None if p is None else p[begin:end]
        alone = ops.lstsq_weights(
            torch.tensor([0, end - begin]), col[begin:end], queries[row : row + 1], anchors, sample_weights=own
        )
        assert torch.equal(alone, together[begin:end])


def test_unused_anchors_may_be_anything() -> None:
    anchors = torch.randn(6, 8)
    anchors[5] = torch.nan
    crow, col = torch.tensor([0, 3]), torch.tensor([0, 2, 4])
    assert bool(ops.lstsq_weights(crow, col, torch.randn(1, 8), anchors).isfinite().all())
