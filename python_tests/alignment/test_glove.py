"""Company of tokens: counts against two loops, a step of the training against NumPy in float64, twins found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salt_ext.alignment.glove import count_pairs, train_vectors, update


def counted_by_loops(lines, window, minimum):
    frequency: dict[int, int] = {}
    for line in lines:
        for token in line:
            frequency[token] = frequency.get(token, 0) + 1
    found: dict[tuple[int, int], float] = {}
    for line in lines:
        kept = [token for token in line if frequency[token] >= minimum]
        for here, token in enumerate(kept):
            for there in range(max(0, here - window), here):
                for pair in ((token, kept[there]), (kept[there], token)):
                    found[pair] = found.get(pair, 0.0) + 1 / (here - there)
    return found


@pytest.mark.parametrize(("window", "minimum"), [(1, 1), (4, 1), (15, 3)])
def test_counts(window, minimum):
    generator = np.random.default_rng(0)
    lines = [generator.zipf(1.5, size=size).clip(max=29).tolist() for size in (0, 1, 40, 7, 60)]
    counts = count_pairs(lines, size=30, window=window, minimum=minimum)
    found = dict(zip(zip(counts.rows.tolist(), counts.columns.tolist(), strict=True), counts.values, strict=True))
    assert found == pytest.approx(counted_by_loops(lines, window, minimum), rel=1e-12)


def test_nothing_to_count():
    counts = count_pairs([[1], [2]], size=3, window=5, minimum=1)
    assert len(counts.rows) == 0
    assert not train_vectors(counts, size=3, dimensions=4, iterations=2, seed=0).any()


def test_a_step():
    generator = np.random.default_rng(1)
    size, dimensions, pairs = 6, 3, 40
    tables = [generator.normal(size=(size, dimensions + 1)) for _ in range(2)]
    squares = [generator.uniform(1, 2, size=(size, dimensions + 1)) for _ in range(2)]
    own = [generator.integers(size, size=pairs) for _ in range(2)]
    weights, logarithms = generator.uniform(size=pairs), generator.normal(size=pairs)
    steps = [np.zeros((size, dimensions + 1)) for _ in range(2)]
    added = [np.zeros((size, dimensions + 1)) for _ in range(2)]
    for i, j, weight, logarithm in zip(*own, weights, logarithms, strict=True):
        w, v = tables[0][i], tables[1][j]
        wrong = w[:3] @ v[:3] + w[3] + v[3] - logarithm
        for side, row, gradient in ((0, i, np.append(v[:3], 1)), (1, j, np.append(w[:3], 1))):
            step = 0.05 * weight * wrong * gradient
            steps[side][row] += step
            added[side][row] += step**2
    expected_squares = [old + new for old, new in zip(squares, added, strict=True)]
    expected = [table - step / np.sqrt(q) for table, step, q in zip(tables, steps, expected_squares, strict=True)]
    found, found_squares = ([torch.from_numpy(each.copy()) for each in both] for both in (tables, squares))
    places = (torch.from_numpy(own[0]), torch.from_numpy(own[1]))
    update(found, found_squares, places, torch.from_numpy(weights), torch.from_numpy(logarithms))
    for side in range(2):
        np.testing.assert_allclose(found[side].numpy(), expected[side], rtol=1e-12)
        np.testing.assert_allclose(found_squares[side].numpy(), expected_squares[side], rtol=1e-12)


def test_training_explains_the_counts():
    generator = np.random.default_rng(2)
    lines = [(generator.integers(5, size=30) + 5 * generator.integers(4)).tolist() for _ in range(60)]
    counts = count_pairs(lines, size=20, window=5, minimum=1)
    made = train_vectors(counts, size=20, dimensions=8, iterations=200, seed=0)
    unit = torch.nn.functional.normalize(made, dim=1)
    cosines = unit @ unit.T
    same = torch.arange(20)[:, None] // 5 == torch.arange(20)[None] // 5
    assert float(cosines[same].mean()) > float(cosines[~same].mean()) + 0.3
    assert torch.equal(made, train_vectors(counts, size=20, dimensions=8, iterations=200, seed=0))
