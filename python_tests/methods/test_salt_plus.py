"""Pieces corrected by one map of what they miss, against dense algebra in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import make_anchors

from salt_ext.errors import InputError
from salt_ext.methods import make_method
from salt_ext.methods.salt.prior import Prior
from salt_ext.methods.salt.salt_plus import SaltPlus
from salt_ext.plan import Provenance

from .conftest import Array, World, close, random_guesses, sparse

ANCHORS, NEW = 30, 12
NO_ROW, UNKNOWN, UNKNOWN_ANCHOR, ZERO_ANCHOR = 35, 37, 5, 8
PLAIN = {"drop_anchors": "none"}


def guess(monkeypatch: pytest.MonkeyPatch, guesses: Array) -> None:
    monkeypatch.setattr(Prior, "of", lambda *_given, **_more: sparse(guesses))


@pytest.fixture
def scene(monkeypatch) -> tuple[World, Array]:
    """A world, and guesses as a dense matrix, none for two of the tokens."""
    world = World(ANCHORS, NEW)
    world.donor[[NO_ROW, ZERO_ANCHOR]] = 0
    guesses = random_guesses(world, [UNKNOWN, UNKNOWN_ANCHOR])
    guess(monkeypatch, guesses)
    return world, guesses


def corrected(world: World, guesses: Array, ridge: float) -> Array:
    """The formula: ridge as rows of the system, over the anchors with a row and a guess."""
    table, donor = world.table.astype(np.float64), world.donor.astype(np.float64)
    keys = np.setdiff1d(np.arange(1, 1 + ANCHORS), [UNKNOWN_ANCHOR, ZERO_ANCHOR])
    wrong = table[world.source_ids[keys - 1]] - guesses[keys] @ table
    centre, mean = donor[keys].mean(axis=0), wrong.mean(axis=0)
    spread = donor[keys] - centre
    damping = np.sqrt(ridge * np.mean(np.sum(spread**2, axis=0)))
    system = np.vstack([spread, damping * np.eye(donor.shape[1])])
    solution = np.linalg.lstsq(
        system, np.vstack([wrong - mean, np.zeros((donor.shape[1], table.shape[1]))]), rcond=None
    )
    return guesses @ table + mean + (donor - centre) @ solution[0]


@pytest.mark.parametrize("ridge", [0.0, 0.1, 3.0])
def test_the_formula(scene, ridge):
    world, guesses = scene
    combined = SaltPlus(ridge=ridge, **PLAIN).combine(world.material())
    found, expected = world.rows(combined), corrected(world, guesses, ridge)
    expected[NO_ROW] = guesses[NO_ROW] @ world.table
    expected[UNKNOWN] = world.table.astype(np.float64).mean(axis=0)
    close(found[world.made], expected[world.made], 1e-4)
    assert np.array_equal(found[world.keys], world.shared())
    assert combined.fallback is Provenance.AVERAGED


def test_guesses_that_are_right_are_kept(scene, monkeypatch):
    """Where every anchor's pieces make its row, there is nothing to correct."""
    world, guesses = scene
    others = np.setdiff1d(np.arange(1, world.source.size), world.source_ids)
    guesses[:] = 0
    guesses[1:, others[:2]] = 0.5
    guess(monkeypatch, guesses)
    world.table[world.source_ids] = guesses[1 : 1 + ANCHORS] @ world.table
    found = world.rows(SaltPlus(**PLAIN).combine(world.material()))
    close(found[world.made], (guesses @ world.table)[world.made], 1e-5)


def test_doubtful_anchors_explain_nothing(scene):
    """An anchor whose source row is far out is copied, and no other row knows of it."""
    world, _ = scene
    world.table[world.source_ids[2]] *= 1e4
    material = replace(world.material(), read_source=lambda: torch.from_numpy(world.table))
    combined = make_method("salt-plus").combine(material)
    assert combined.facts["dropped_anchors"]["undertrained"]["count"] >= 1
    assert np.abs(world.rows(combined)[world.made][: UNKNOWN - ANCHORS - 1]).max() < 100


def test_the_pieces_rule_reaches_the_prior(monkeypatch):
    asked = []
    monkeypatch.setattr(Prior, "of", lambda *_given, pieces: asked.append(pieces) or sparse(guesses))
    world = World(ANCHORS, NEW)
    guesses = random_guesses(world, [])
    SaltPlus(pieces="length", **PLAIN).combine(world.material())
    assert asked == ["length"]


def test_bad_input():
    with pytest.raises(InputError, match="pieces is 'most'"):
        SaltPlus(pieces="most")
    with pytest.raises(InputError, match=r"ridge is -1\.0, expected a finite number of at least 0"):
        SaltPlus(ridge=-1.0)
    with pytest.raises(InputError, match="norms is 'all', expected kept or factor"):
        SaltPlus(norms="all")
    with pytest.raises(InputError, match="drop_anchors is 'some'"):
        SaltPlus(drop_anchors="some")


def test_without_an_anchor_to_learn_from_the_pieces_are_all(scene):
    world, guesses = scene
    world.pairs = make_anchors({0: (0, "special")})
    combined = SaltPlus(**PLAIN).combine(world.material())
    expected = guesses @ world.table
    expected[UNKNOWN] = expected[UNKNOWN_ANCHOR] = world.table.astype(np.float64).mean(axis=0)
    close(world.rows(combined)[1:], expected[1:], 1e-4)
    assert ["as by subword" in warning for warning in combined.warnings] == [True]
