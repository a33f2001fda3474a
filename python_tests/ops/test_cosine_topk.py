"""cosine_topk against the float64 definition."""

from __future__ import annotations

import pytest
import torch

from salt_ext import ops
from salt_ext.ops import reference

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


def at_cosines(cosines: torch.Tensor) -> torch.Tensor:
    """Keys in the plane that have these cosines with (1, 0)."""
    return torch.stack([cosines, (1 - cosines**2).clamp_min(0).sqrt()], dim=1)


@pytest.mark.any_isa
@pytest.mark.parametrize("k", [1, 10, 300])
def test_keys_that_low_precision_cannot_tell_apart_rank_exactly(k: int) -> None:
    """A thousand keys within 2e-3, a hundred times closer than float16 scores resolve; two tiles."""
    cosines = -torch.rand(4501, dtype=torch.float64)
    cosines[torch.randperm(4501)[:1000]] = 0.35 + torch.linspace(0, 2e-3, 1000, dtype=torch.float64)
    values, indices = ops.cosine_topk(torch.tensor([[1.0, 0.0]], dtype=torch.float64), at_cosines(cosines), k)
    expected = cosines.sort(descending=True)
    assert torch.equal(indices[0], expected.indices[:k])
    assert (values[0] - expected.values[:k]).abs().max() < 1e-14


@pytest.mark.any_isa
@pytest.mark.parametrize("k", [3, 1030])
def test_more_ties_than_a_query_keeps_survivors(k: int) -> None:
    """1,100 copies of one key, and a k beyond which every key is ranked; other queries choose as ever."""
    keys = torch.cat([torch.randn(3000, 4), torch.randn(1, 4).expand(1100, 4), torch.randn(21, 4)]).double()
    keys[[2, 4110]] = 0
    queries = torch.randn(4, 4).double()
    queries[1] = keys[3500] * 3
    queries[2] = 0
    values, indices = ops.cosine_topk(queries, keys, k)
    assert torch.equal(indices[1, :k], torch.arange(3000, 4100)[:k])
    expected = reference.cosine_topk(queries, keys, k)
    assert torch.equal(indices[2], expected[1][2])
    for row in (0, 1, 3):
        assert (values[row] - expected[0][row]).abs().max() < 1e-14
        apart = expected[0][row].unique_consecutive(return_counts=True)[1] == 1
        assert bool(apart.any()) or row == 1
        assert len(set(indices[row].tolist())) == k
    assert not bool(torch.isin(torch.tensor([2, 4110]), indices).any())


@pytest.mark.any_isa
def test_fewer_directions_than_k_in_many_keys() -> None:
    keys = torch.zeros(4200, 5)
    keys[[7, 4095, 4096, 4199]] = torch.randn(4, 5)
    queries = torch.randn(3, 5)
    values, indices = ops.cosine_topk(queries, keys, 40)
    assert [sorted(row[:4]) for row in indices.tolist()] == [[7, 4095, 4096, 4199]] * 3
    assert bool((indices[:, 4:] == -1).all())
    assert bool((values[:, 4:] == -torch.inf).all())
    assert torch.equal(indices, reference.cosine_topk(queries, keys, 40)[1])


@pytest.mark.any_isa
def test_strided_and_misaligned_inputs_give_the_same_bits() -> None:
    queries, keys = torch.randn(6, 33), torch.randn(90, 33)
    expected = ops.cosine_topk(queries, keys, 12)
    misaligned = torch.zeros(90 * 34 + 1)[1:].view(90, 34)[:, :33]
    misaligned.copy_(keys)
    for q in (queries, queries.T.contiguous().T):
        for a, b in zip(ops.cosine_topk(q, misaligned, 12), expected, strict=True):
            assert torch.equal(a, b)
