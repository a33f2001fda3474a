"""omp against the float64 definition and against facts of orthogonal matching pursuit."""

from __future__ import annotations

import pytest
import torch

from salt_ext import ops, reference

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("q", "atoms", "d", "k"), [(1, 1, 1, 1), (4, 30, 12, 5), (30, 600, 40, 16), (5, 20, 8, 30)])
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
