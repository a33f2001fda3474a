"""OMP against a greedy search in float64, step by step with numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest

from salt_ext.errors import InputError
from salt_ext.methods.omp import Omp

from .conftest import Array, close


def pursue(query: Array, atoms: Array, k: int) -> Array:
    """Weights over all atoms."""
    chosen: list[int] = []
    residual, solution = query, np.empty(0)
    for _ in range(k):
        scores = np.abs(atoms @ residual)
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        solution = np.linalg.lstsq(atoms[chosen].T, query, rcond=None)[0]
        residual = query - solution @ atoms[chosen]
    weights = np.zeros(len(atoms))
    weights[chosen] = solution
    return weights


@pytest.mark.parametrize("k", [1, 4, 15])
def test_the_formula(world, k):
    w = world(40, 30)
    combined = Omp(k=k).combine(w.material())
    atoms = w.donor[w.keys].astype(np.float64)
    weights = np.array([pursue(query, atoms, k) for query in w.donor[w.made].astype(np.float64)])
    close(w.rows(combined)[w.made], weights @ w.shared(), 2e-4)
    queries = w.donor[w.made].astype(np.float64)
    expected = np.linalg.norm(queries - weights @ atoms, axis=1) / np.linalg.norm(queries, axis=1)
    assert np.abs(combined.residual - expected).max() < 1e-5
    assert (combined.lengths == k).all()


def test_with_an_intercept_rows_are_rebuilt_around_the_means(world):
    """The same pursuit of what differs from the mean donor row, and the whole mean source row on top."""
    w = world(40, 30)
    w.table += 3
    atoms = w.donor[w.keys].astype(np.float64)
    centre, mean = atoms.mean(axis=0), w.shared().mean(axis=0)
    weights = np.array([pursue(query - centre, atoms - centre, 4) for query in w.donor[w.made].astype(np.float64)])
    found = w.rows(Omp(k=4, intercept=True).combine(w.material()))
    close(found[w.made], mean + weights @ (w.shared() - mean), 2e-4)


def test_an_exact_fit_needs_no_more_atoms(world):
    w = world(6, 2, donor=8)
    w.donor[7], w.donor[8] = 2 * w.donor[3], 0
    combined = Omp(k=4).combine(w.material())
    rows = w.rows(combined)
    assert combined.target_ids.tolist() == [7]
    close(rows[[7]], 2 * rows[[3]])


def test_bad_input(world):
    with pytest.raises(InputError, match=r"^k is 64, but only 9 source tokens .* pass 9 or less$"):
        Omp().combine(world(9, 3).material())
    with pytest.raises(InputError, match="k is 0, expected"):
        Omp(k=0)
    with pytest.raises(InputError, match=r"1 are text with a donor row; OMP needs at least 2"):
        Omp().combine(world(1, 3).material())
