"""The global map against numpy's least squares in float64."""

from __future__ import annotations

import numpy as np
import pytest

from salt_ext.errors import InputError
from salt_ext.methods.global_map import GlobalMap

from .conftest import Array, close


def mapped(queries: Array, anchors: Array, table: Array, ridge: float, intercept: bool) -> Array:
    """Ridge as rows of the system: sqrt(damping) times the identity, aimed at zero."""
    queries, anchors = queries.astype(np.float64), anchors.astype(np.float64)
    mean, centre = (anchors.mean(axis=0), table.mean(axis=0)) if intercept else (0.0, 0.0)
    width = anchors.shape[1]
    damping = ridge * np.mean(np.sum((anchors - mean) ** 2, axis=0))
    system = np.vstack([anchors - mean, np.sqrt(damping) * np.eye(width)])
    aims = np.vstack([table - centre, np.zeros((width, table.shape[1]))])
    return centre + (queries - mean) @ np.linalg.lstsq(system, aims, rcond=None)[0]


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize(("anchors", "width"), [(60, 20), (12, 20), (20, 20)], ids=["tall", "wide", "square"])
def test_the_formula(world, anchors, width, ridge, intercept):
    w = world(anchors, 15, donor=width)
    w.donor += 0.5
    found = w.rows(GlobalMap(ridge=ridge, intercept=intercept).combine(w.material()))
    expected = mapped(w.donor[w.made], w.donor[w.keys], w.shared(), ridge, intercept)
    close(found[w.made], expected, 1e-4)
    assert np.array_equal(found[w.keys], w.shared())


def test_a_true_map_is_found_in_new_tokens(world):
    w = world(60, 15)
    truth = np.random.default_rng(3).normal(size=(20, 16))
    w.table[w.source_ids] = w.donor[w.keys] @ truth + 2
    found = w.rows(GlobalMap(intercept=True).combine(w.material()))
    close(found[w.made], w.donor[w.made] @ truth + 2, 1e-4)


def test_directions_that_no_anchor_has_are_dropped(world):
    """Minimum norm: what lies in the anchors' null space maps to nothing."""
    w = world(60, 4)
    w.donor[w.keys, 15:] = 0
    found = w.rows(GlobalMap().combine(w.material()))
    w.donor[w.made, 15:] = 0
    close(found[w.made], mapped(w.donor[w.made], w.donor[w.keys], w.shared(), 0.0, False), 1e-4)


def test_nothing_new_and_bad_input(world):
    assert len(GlobalMap().combine(world(4, 0).material()).target_ids) == 0
    with pytest.raises(InputError, match=r"ridge is -0\.1, expected a finite number of at least 0"):
        GlobalMap(ridge=-0.1)
    with pytest.raises(InputError, match="the global map needs at least 2"):
        GlobalMap().combine(world(1, 2).material())
