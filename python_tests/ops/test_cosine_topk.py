"""cosine_topk against the float64 definition."""

from __future__ import annotations

import pytest
import torch

from salt_ext import ops, reference

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14, torch.float16: 6e-4, torch.bfloat16: 5e-3}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("q", "k", "d", "top"),
    [(1, 1, 1, 1), (3, 7, 5, 7), (193, 257, 40, 10), (50, 1000, 257, 1), (20, 700, 64, 700), (191, 513, 300, 64)],
)
def test_equals_the_definition(dtype: torch.dtype, q: int, k: int, d: int, top: int) -> None:
    queries, keys = torch.randn(q, d).to(dtype), torch.randn(k, d).to(dtype)
    values, indices = ops.cosine_topk(queries, keys, top)
    assert values.dtype == dtype
    assert values.shape == indices.shape == (q, top)
    cosines = torch.nn.functional.normalize(queries.double()) @ torch.nn.functional.normalize(keys.double()).T
    expected = cosines.sort(dim=1, descending=True).values[:, :top]
    assert (values.double() - expected).abs().max() <= TOLERANCE[dtype]
    # The chosen keys have the similarities that are claimed, each is chosen once, and the order descends.
    assert (cosines.gather(1, indices) - expected).abs().max() <= 1e-6
    assert all(len(set(row)) == top for row in indices.tolist())
    assert bool((values.double().diff(dim=1) <= 0).all())


def test_ties_rank_by_index() -> None:
    keys = torch.randn(30, 6).repeat(20, 1)  # every key twenty times, in many tiles
    values, indices = ops.cosine_topk(torch.randn(40, 6), keys, 25)
    expected = reference.cosine_topk(torch.randn(40, 6), keys, 25)
    assert expected[1].shape == indices.shape
    for row, ids in zip(values.tolist(), indices.tolist(), strict=True):
        for i in range(24):
            assert row[i] > row[i + 1] or ids[i] < ids[i + 1]
    first = indices[:, :20]
    assert torch.equal(first, first[:, :1] + 30 * torch.arange(20))


def test_zero_rows_leave_slots_unused() -> None:
    queries, keys = torch.randn(3, 4), torch.randn(5, 4)
    queries[1] = 0
    keys[[0, 2, 3]] = 0
    values, indices = ops.cosine_topk(queries, keys, 4)
    assert indices[1].tolist() == [-1] * 4
    assert values[1].tolist() == [-torch.inf] * 4
    assert sorted(indices[0].tolist()[:2]) == [1, 4]
    assert indices[0].tolist()[2:] == [-1, -1]
    expected = reference.cosine_topk(queries, keys, 4)
    assert torch.equal(indices, expected[1])


def test_empty_queries() -> None:
    values, indices = ops.cosine_topk(torch.zeros(0, 4), torch.ones(3, 4), 2)
    assert values.shape == indices.shape == (0, 2)


def test_threads_do_not_change_a_bit() -> None:
    queries, keys = torch.randn(400, 50), torch.randn(600, 50)
    torch.set_num_threads(1)
    one = ops.cosine_topk(queries, keys, 17)
    torch.set_num_threads(2)
    two = ops.cosine_topk(queries, keys, 17)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
