"""CLP-Transfer against its formula in float64, with all cosines written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salt_ext.methods.clp import Clp
from salt_ext.plan import Provenance

from .conftest import Array, close, unit


def weights(queries: Array, anchors: Array) -> Array:
    cosines = unit(queries) @ unit(anchors).T
    return cosines / cosines.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("width", [3, 20, 200])
def test_the_formula(world, width):
    """Donor rows with a common direction, as real tables have: without one the sum of cosines is mere noise."""
    w = world(50, 30, donor=width)
    w.donor += 1
    found = w.rows(Clp().combine(w.material()))
    close(found[w.made], weights(w.donor[w.made], w.donor[w.keys]) @ w.shared())
    assert np.array_equal(found[w.keys], w.shared())


def test_negative_weights_stay_and_are_told(world):
    w = world(50, 3)
    w.donor += 0.4
    w.donor[w.made] = np.array([[1.0], [-1.0], [2.0]])
    combined = Clp().combine(w.material())
    expected = weights(w.donor[w.made], w.donor[w.keys])
    assert expected.min() < 0
    close(w.rows(combined)[w.made], expected @ w.shared())
    assert combined.facts["pointing_away"] == 1
    assert "0 of 3 new tokens" in combined.warnings[0]
    assert "1 point away" in combined.warnings[0]


def test_cosines_that_cancel_exactly_leave_the_token(world):
    w = world(2, 2, donor=2)
    w.donor[1], w.donor[2], w.donor[3], w.donor[4] = [1, 0], [-1, 0], [0, 1], [1, 1]
    combined = Clp().combine(w.material())
    assert combined.target_ids.tolist() == []
    assert combined.facts["nearly_cancelling"] == 2


def test_nothing_grows_with_tokens_times_anchors(world):
    w = world(300, 200, donor=8)
    w.donor += 1
    part = Clp().combine(w.material()).low_rank
    assert part.left.shape == (200, 8)
    assert part.right.shape == (8, 300)


def test_a_donor_row_of_zeros_and_half_precision(world):
    w = world(20, 5)
    w.donor += 1
    w.donor[22] = 0
    half = torch.from_numpy(w.donor).bfloat16()
    w.donor = half.float().numpy()
    material = w.material()
    object.__setattr__(material, "read_donor", lambda: half)
    combined = Clp().combine(material)
    assert 22 not in combined.target_ids
    assert combined.fallback is Provenance.SAMPLED
    kept = [21, 23, 24, 25]
    close(w.rows(combined)[kept], weights(w.donor[kept], w.donor[w.keys]) @ w.shared())


def test_nothing_new(world):
    w = world(4, 0)
    assert len(Clp().combine(w.material()).target_ids) == 0
