"""omp against the float64 definition and against facts of orthogonal matching pursuit."""

from __future__ import annotations

import pytest
import torch

from salt_ext import ops
from salt_ext.ops import reference

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("q", "atoms", "d", "k"),
    [(1, 1, 1, 1), (4, 30, 12, 5), (30, 600, 40, 16), (5, 20, 8, 30), (2, 200, 80, 70), (3, 40, 1100, 3)],
)
def test_equals_the_definition(dtype: torch.dtype, q: int, atoms: int, d: int, k: int) -> None:
    queries, table = torch.randn(q, d).to(dtype), torch.randn(atoms, d).to(dtype)
    indices, weights = ops.omp(queries, table, k)
    expected_indices, expected_weights = reference.omp(queries, table, k)
    assert weights.dtype == dtype
    assert torch.equal(indices, expected_indices)
    error = (weights.double() - expected_weights.double()).norm(dim=1) / expected_weights.double().norm(dim=1)
    assert bool((error <= TOLERANCE[dtype]).all())


def test_residual_is_orthogonal_to_the_chosen_and_shrinks() -> None:
    queries, atoms = torch.randn(20, 50), torch.randn(400, 50)
    last = queries.double().norm(dim=1)
    for k in (1, 2, 4, 8, 16):
        indices, weights = ops.omp(queries, atoms, k)
        chosen = atoms[indices].double()
        residual = queries.double() - (weights.double()[:, :, None] * chosen).sum(1)
        assert (chosen @ residual[:, :, None]).abs().max() < 1e-4
        assert bool((residual.norm(dim=1) < last).all())
        assert all(len(set(row)) == k for row in indices.tolist())
        last = residual.norm(dim=1)


def test_sparse_combination_is_recovered() -> None:
    atoms = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64)).Q
    queries = 3 * atoms[[7]] - 2 * atoms[[11]] + 0.5 * atoms[[60]]
    indices, weights = ops.omp(queries, atoms, 8)
    assert indices[0].tolist() == [7, 11, 60, -1, -1, -1, -1, -1]
    assert torch.allclose(weights[0], torch.tensor([3, -2, 0.5, 0, 0, 0, 0, 0]).double())


def test_large_atoms_are_preferred_as_they_are() -> None:
    """tokensurgeon's rule: the inner product itself, not the cosine."""
    indices, weights = ops.omp(torch.tensor([[1.0, 0.4]]), torch.tensor([[1.0, 0.0], [5.0, 5.0]]), 1)
    assert indices.tolist() == [[1]]
    assert float(weights[0, 0]) == pytest.approx(0.14)


def test_tolerance_stops_early() -> None:
    queries, atoms = torch.randn(10, 30), torch.randn(300, 30)
    indices, weights = ops.omp(queries, atoms, 30, tolerance=0.3)
    used = (indices >= 0).sum(1)
    assert bool((used < 30).all())
    residual = queries - (weights[:, :, None] * atoms[indices.clamp_min(0)]).sum(1)
    assert bool((residual.norm(dim=1) <= 0.3 * queries.norm(dim=1)).all())
    for row in range(10):
        fewer, weights = ops.omp(queries[row : row + 1], atoms, int(used[row]) - 1)
        left = queries[row] - weights[0] @ atoms[fewer[0]]
        assert left.norm() > 0.3 * queries[row].norm()


def test_dependent_atoms_are_chosen_once() -> None:
    atoms = torch.randn(6, 20).repeat(3, 1) * torch.tensor([1.0, 1.0, -2.0]).repeat_interleave(6)[:, None]
    indices, _weights = ops.omp(torch.randn(4, 20), atoms, 15)
    for row in indices.tolist():
        used = [i % 6 for i in row if i >= 0]
        assert sorted(used) == list(range(6))


def test_an_atom_in_the_span_of_the_chosen_is_passed_over() -> None:
    """The second atom is the first but for 1e-7: taking it would need weights of 1e7 that cancel."""
    atoms = torch.tensor([[1, 0, 0], [0.999, 1e-7, 0], [0, 1e-9, 0]], dtype=torch.float64)
    queries = torch.tensor([[5, 1, 0]], dtype=torch.float64)
    indices, weights = ops.omp(queries, atoms, 2)
    assert indices.tolist() == [[0, 2]] == reference.omp(queries, atoms, 2)[0].tolist()
    assert torch.allclose(weights, torch.tensor([[5, 1e9]], dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "second"), [(torch.float32, -1), (torch.float64, 1)])
def test_what_rounding_could_explain_is_not_chosen(dtype: torch.dtype, second: int) -> None:
    """A correlation of 2e-6: noise in float32, a gain in float64."""
    atoms = torch.tensor([[1, 0, 0], [0, 1, 2e-6]], dtype=dtype)
    assert ops.omp(torch.tensor([[1, 0, 1e-3]], dtype=dtype), atoms, 2)[0].tolist() == [[0, second]]


def test_many_atoms_in_the_span_of_the_chosen_are_passed_over() -> None:
    """Each is the best of what is left when its turn comes, and each is refused."""
    near = torch.stack([torch.full((40,), 0.9), 1e-7 * (1 + torch.arange(40) / 50), torch.zeros(40)], dim=1).double()
    atoms = torch.cat([near[:20], torch.tensor([[1, 0, 0]]).double(), near[20:], torch.tensor([[0, 1e-9, 0]]).double()])
    queries = torch.tensor([[5, 1, 0], [-5, 2, 0]], dtype=torch.float64)
    indices, weights = ops.omp(queries, atoms, 2)
    assert indices.tolist() == [[20, 41], [20, 41]]
    assert torch.allclose(weights, torch.tensor([[5, 1e9], [-5, 2e9]], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_best_of_a_thousand_near_ties_is_found(dtype: torch.dtype) -> None:
    """1e-5 apart from the next: less than float16 can tell. Equal atoms: the lowest index."""
    atoms = torch.randn(1200, 16, dtype=dtype)
    query = torch.nn.functional.normalize(torch.randn(1, 16, dtype=dtype))
    place = torch.randperm(1200)[:1000]
    factors = 1 - 1e-5 * torch.arange(1000).clamp_max(990)
    atoms[place] = 20 * (factors[:, None] * query).to(dtype) + 1e-3 * torch.randn(1000, 16, dtype=dtype)
    equal = place[:30]
    atoms[equal] = 20 * query
    indices, _weights = ops.omp(query + 0.1 * torch.randn(1, 16, dtype=dtype), atoms, 1)
    assert indices.tolist() == [[int(equal.min())]]
    several = query + torch.randn(3, 16, dtype=dtype)
    assert torch.equal(ops.omp(several, atoms, 4)[0], reference.omp(several, atoms, 4)[0])


def test_roundings_that_all_go_one_way_do_not_mislead() -> None:
    """In float16 the first direction grows in every element and the second shrinks; in truth they are the same."""
    middle = torch.full((15,), 0.25 + 33.5 * 2**-12, dtype=torch.float64)  # between two numbers of float16
    directions = torch.stack([middle + 1e-7, middle - 1e-7])
    directions[:, 14] = (1 - directions[:, :14].square().sum(1)).sqrt()
    factors = torch.tensor([[1.0], [1 + 1e-6]]).double()
    atoms = torch.cat([factors * directions, factors.flip(0) * directions])
    rounded = directions.half().double() @ directions[0]
    assert rounded[0] > rounded[1] + 0.0008
    indices, _weights = ops.omp(directions[:1], atoms[:2], 1)
    assert indices.tolist() == [[1]]
    assert ops.omp(-directions[1:], atoms[2:], 1)[0].tolist() == [[0]]


def test_norms_of_every_size() -> None:
    """The largest atom says nothing about the others: the query lies where only tiny atoms are."""
    directions = torch.nn.functional.normalize(torch.randn(300, 12, dtype=torch.float64))
    atoms = directions * torch.logspace(-45, 5, 300, dtype=torch.float64)[torch.randperm(300), None]
    queries = torch.randn(3, 12, dtype=torch.float64)
    assert torch.equal(ops.omp(queries, atoms, 6)[0], reference.omp(queries, atoms, 6)[0])
    atoms[:, 6:] = 0
    atoms[:150, :6] = 0
    atoms[:150, 6:] = 1e-60 * directions[:150, 6:]
    queries[:, :6] = 0
    indices, weights = ops.omp(queries, atoms, 6)
    expected_indices, expected_weights = reference.omp(queries, atoms, 6)
    assert torch.equal(indices, expected_indices)
    assert bool((indices < 150).all())
    assert torch.allclose(weights, expected_weights, rtol=1e-9, atol=0)


def test_atoms_of_the_last_tile_are_found() -> None:
    atoms = torch.randn(16500, 6)
    atoms[16390:] *= 10
    atoms[[3, 16499]] *= 100
    queries = torch.randn(2, 6)
    indices, _weights = ops.omp(queries, atoms, 3)
    assert torch.equal(indices, reference.omp(queries, atoms, 3)[0])
    assert bool((indices > 16389).any())


def test_few_of_many_queries_are_open() -> None:
    """More than a block of queries, and almost all are done before the first step."""
    queries = torch.zeros(4200, 5)
    open_rows = [0, 1, 2099, 2100, 2101, 4095, 4096, 4199]
    queries[open_rows] = torch.randn(8, 5)
    atoms = torch.randn(30, 5)
    indices, weights = ops.omp(queries, atoms, 3)
    expected_indices, expected_weights = ops.omp(queries[open_rows], atoms, 3)
    assert torch.equal(indices[open_rows], expected_indices)
    assert torch.equal(weights[open_rows], expected_weights)
    assert int((indices >= 0).any(dim=1).sum()) == len(open_rows)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_rows_may_begin_anywhere(dtype: torch.dtype) -> None:
    queries, atoms = torch.randn(3, 37).to(dtype), torch.randn(50, 37).to(dtype)
    aligned = torch.zeros(53, 48, dtype=dtype)
    odd = torch.zeros(53, 41, dtype=dtype)
    for place in (aligned[:, :37], odd[:, 3:40]):
        place[:3], place[3:] = queries, atoms
        indices, weights = ops.omp(place[:3], place[3:], 6)
        expected_indices, expected_weights = ops.omp(queries, atoms, 6)
        assert torch.equal(indices, expected_indices)
        assert torch.equal(weights, expected_weights)


def test_degenerate_inputs_leave_slots_unused() -> None:
    zero = torch.zeros(1, 5)
    assert ops.omp(zero, torch.randn(4, 5), 2)[0].tolist() == [[-1, -1]]
    assert ops.omp(torch.ones(1, 5), torch.zeros(4, 5), 2)[0].tolist() == [[-1, -1]]
    assert ops.omp(torch.ones(1, 5), torch.zeros(0, 5), 2)[0].tolist() == [[-1, -1]]
    assert ops.omp(torch.ones(2, 0), torch.ones(3, 0), 1)[0].tolist() == [[-1], [-1]]
    assert ops.omp(torch.ones(0, 5), torch.ones(4, 5), 3)[1].shape == (0, 3)


def test_threads_do_not_change_a_bit() -> None:
    queries, atoms = torch.randn(400, 24), torch.randn(300, 24)
    torch.set_num_threads(1)
    one = ops.omp(queries, atoms, 6)
    torch.set_num_threads(2)
    two = ops.omp(queries, atoms, 6)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
