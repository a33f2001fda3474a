"""Interpolation against its formulas in float64: neighbours by sorting, weights by numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest

from salt_ext.errors import InputError
from salt_ext.methods.interpolate import Interpolate

from .conftest import Array, close, unit


def distances(query: Array, anchors: Array, metric: str) -> Array:
    if metric == "cosine":
        return 1 - (unit(query[None]) @ unit(anchors).T)[0]
    return np.linalg.norm(anchors - query, axis=1)


def weigh(query: Array, points: Array, apart: Array, metric: str, weights: str) -> Array:
    if weights == "least-squares":
        return np.linalg.lstsq(points.T, query, rcond=None)[0]
    if weights == "barycentric":
        # Lagrange: the sum of weights is 1.
        k = len(points)
        system = np.block([[points @ points.T, np.ones((k, 1))], [np.ones((1, k)), np.zeros((1, 1))]])
        return np.linalg.solve(system, np.append(points @ query, 1))[:k]
    shares = np.maximum(1 - apart, 0) if metric == "cosine" else 1 / apart
    return shares / shares.sum()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weights", ["least-squares", "barycentric", "distance"])
@pytest.mark.parametrize("k", [1, 5, 12])
def test_the_formula(world, metric, weights, k):
    w = world(60, 40)
    # Norms between 0.2 and 5: near by distance and near by cosine are different things.
    w.donor *= np.random.default_rng(1).uniform(0.2, 5, size=(len(w.donor), 1)).astype(np.float32)
    combined = Interpolate(k=k, metric=metric, weights=weights).combine(w.material())
    anchors, queries = w.donor[w.keys].astype(np.float64), w.donor[w.made].astype(np.float64)
    expected, rebuilt = [], []
    for query in queries:
        apart = distances(query, anchors, metric)
        nearest = np.argsort(apart)[:k]
        share = weigh(query, anchors[nearest], apart[nearest], metric, weights)
        expected.append(share @ w.shared()[nearest])
        rebuilt.append(share @ anchors[nearest])
    close(w.rows(combined)[w.made], np.array(expected), 1e-4)
    residual = np.linalg.norm(queries - rebuilt, axis=1) / np.linalg.norm(queries, axis=1)
    assert np.abs(combined.residual - residual).max() < 1e-4


def test_nearest_by_distance_among_anchors_far_from_the_origin(world):
    """All anchors lie 1000 away, 1 apart: squares of norms alone would decide nothing in float32."""
    w = world(60, 40, donor=6)
    w.donor[:, 0] += 1000
    found = Interpolate(k=3, weights="distance").combine(w.material())
    anchors = w.donor[w.keys].astype(np.float64)
    for place, query in enumerate(w.donor[w.made].astype(np.float64)):
        nearest = np.argsort(distances(query, anchors, "euclidean"))[:3]
        sources = found.source_ids[3 * place : 3 * place + 3]
        assert set(sources) == set(w.source_ids[nearest])


def test_a_token_like_an_anchor_has_its_row(world):
    w = world(20, 3)
    w.donor[21] = w.donor[5]
    for weights in ("least-squares", "barycentric", "distance"):
        rows = w.rows(Interpolate(k=4, weights=weights).combine(w.material()))
        close(rows[[21]], rows[[5]], 1e-4)


def test_anchors_that_point_away_weigh_nothing(world):
    """Tokensurgeon's own formula gives the anti-correlated one weight -1 / (0.5 - 0.4): here nothing."""
    w = world(3, 2, donor=2)
    w.donor[1:6] = [[1, 3**0.5], [-0.4, 0.84**0.5], [-1, 0.1], [1, 0], [-1, -1.0]]
    combined = Interpolate(k=2, metric="cosine", weights="distance").combine(w.material())
    assert combined.lengths.tolist() == [1, 1]
    assert combined.source_ids.tolist() == w.source_ids[[0, 2]].tolist()
    assert combined.values.tolist() == [1, 1]


def test_bad_input(world):
    with pytest.raises(InputError, match=r"^k is 64, but only 9 source tokens"):
        Interpolate().combine(world(9, 3).material())
    with pytest.raises(InputError, match="k is -1, expected"):
        Interpolate(k=-1)
    with pytest.raises(InputError, match="metric is 'manhattan', expected euclidean or cosine"):
        Interpolate(metric="manhattan")
    with pytest.raises(InputError, match="weights is 'x', expected least-squares or barycentric or distance"):
        Interpolate(weights="x")
