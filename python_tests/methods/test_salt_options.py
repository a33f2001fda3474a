"""SALT's options against a float64 transcription in NumPy, row by row, on a small world with every kind of token."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from factories import make_anchors, make_vocabulary, words
from oracles import sparsemax

from salt_ext.errors import InputError
from salt_ext.methods import Combinations, MethodInputs, assemble_plan, make_method
from salt_ext.methods.salt.salt import Salt
from salt_ext.plan import Norms, Provenance

TARGET, SOURCE, ANCHORS = 60, 50, 40
NO_VECTOR, NO_ROW = 45, 46  # new tokens
ANCHOR_WITHOUT_VECTOR, BYTE_ANCHOR = 7, 3
TEXT = [n for n in range(ANCHORS) if n != BYTE_ANCHOR]


class World:
    """Token n < ANCHORS of the target is token 49 - n of the source; tables of random numbers with a common mean."""

    def __init__(self, width: int = 12, anchors: int = ANCHORS) -> None:
        generator = np.random.default_rng(4)
        self.donor = generator.normal(0.3, 1, (TARGET, width)).astype(np.float32).astype(np.float64)
        self.auxiliary = generator.normal(0.2, 1, (TARGET, 5)).astype(np.float32).astype(np.float64)
        self.auxiliary[[NO_VECTOR, ANCHOR_WITHOUT_VECTOR]] = 0
        self.donor[NO_ROW] = 0
        self.source = generator.normal(-0.2, 1, (SOURCE, 9)).astype(np.float32).astype(np.float64)
        kinds = {BYTE_ANCHOR: "byte"}
        self.anchors = make_anchors({n: (SOURCE - 1 - n, kinds.get(n, "exact")) for n in range(anchors)})

    def material(self) -> MethodInputs:
        return MethodInputs(
            source=make_vocabulary(words(SOURCE)),
            target=make_vocabulary(words(TARGET)),
            anchors=self.anchors,
            read_donor=lambda: torch.from_numpy(self.donor).float(),
            read_auxiliary=lambda: torch.from_numpy(self.auxiliary).float(),
            read_source=lambda: torch.from_numpy(self.source).float(),
        )

    def rows(self, combined: Combinations) -> np.ndarray:
        """The new table that the plan makes of the source's, in float64."""
        target = make_vocabulary(words(TARGET))
        plan = assemble_plan(combined, self.anchors, target, rows=TARGET, source_rows=SOURCE, seed=0)
        return plan.apply(torch.from_numpy(self.source)).numpy()

    def anchor_rows(self, targets: list[int]) -> np.ndarray:
        return self.source[[SOURCE - 1 - n for n in targets]]


def unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def neighbours(world: World, token: int, option: Salt) -> tuple[list[int], np.ndarray]:
    """Target ids of the support, and their weights; the formula of the similarity, not its features."""
    by_vector = unit(world.auxiliary) @ unit(world.auxiliary[token])
    by_row = unit(world.donor) @ unit(world.donor[token])
    if option.similarity == "mean":
        # A token with one of the two vectors is ranked by that one, divided by the length of a pair.
        pairs = (np.abs(world.auxiliary).sum(1) > 0) + 0.0 + (np.abs(world.donor).sum(1) > 0)
        scores = (by_vector + by_row) / np.sqrt(pairs * pairs[token])
    else:
        scores = by_vector if option.similarity == "auxiliary" else by_row
    keys = [n for n in TEXT if n != ANCHOR_WITHOUT_VECTOR or option.similarity != "auxiliary"]
    if not world.auxiliary[token].any() and option.similarity == "auxiliary":
        return [], np.empty(0)
    weights = sparsemax(scores[keys] / option.temperature)
    chosen = [n for n, weight in zip(keys, weights, strict=True) if weight > 1e-9]
    weights = weights[weights > 1e-9]
    if len(chosen) < option.minimum_neighbours:
        nearest = sorted(keys, key=lambda n: -scores[n])[: option.minimum_neighbours]
        least = weights.min()
        known = dict(zip(chosen, weights, strict=True))
        chosen = sorted(nearest)
        weights = np.array([known.get(n, least) for n in chosen])
    return chosen, weights


def local_weights(query: np.ndarray, rows: np.ndarray, p: np.ndarray, ridge: float, intercept: bool) -> np.ndarray:
    """Ridge regression of weighted rows, from the textbook's normal equations in the wide space."""
    k, p = len(rows), p / p.sum()
    centre = p @ rows if intercept else np.zeros_like(query)
    scaled = np.sqrt(k * p)[:, None] * (rows - centre)
    gram = scaled @ scaled.T
    gram += ridge * np.trace(gram) / k * np.eye(k)
    weights = np.sqrt(k * p) * (np.linalg.pinv(gram, rcond=1e-11) @ scaled @ (query - centre))
    return weights + p * (1 - weights.sum()) if intercept else weights


def affine(world: World, ridge: float):
    """The ridge map of all text anchors as a function of donor rows."""
    a, b = world.donor[TEXT], world.anchor_rows(TEXT)
    a0, b0 = a.mean(0), b.mean(0)
    gram = (a - a0).T @ (a - a0)
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = np.linalg.lstsq(gram, (a - a0).T @ (b - b0), rcond=None)[0]
    return lambda rows: (rows - a0) @ solution + b0


def expected_row(world: World, token: int, option: Salt) -> np.ndarray:
    chosen, p = neighbours(world, token, option)
    query = world.donor[token]
    p = p if option.weighted else np.ones(len(chosen))
    weights = np.empty(0)
    if chosen:
        weights = local_weights(query, world.donor[chosen], p, option.ridge, option.intercept)
    if option.global_ridge is None:
        return weights @ world.anchor_rows(chosen)
    m = affine(world, option.global_ridge)
    correction = weights @ (world.anchor_rows(chosen) - m(world.donor[chosen])) if chosen else 0
    return m(query) + correction


OPTIONS = [
    Salt(ridge=ridge, weighted=weighted, intercept=intercept)
    for ridge, weighted, intercept in product((0.0, 0.3), (False, True), (False, True))
] + [
    Salt(similarity="donor", ridge=0.1),
    Salt(similarity="mean", ridge=0.1),
    Salt(minimum_neighbours=25, temperature=0.1, ridge=0.3, weighted=True),
    Salt(minimum_neighbours=1000, ridge=0.3),
    Salt(global_ridge=0.0),
    Salt(global_ridge=1.0, ridge=3.0),
    Salt(global_ridge=1.0, ridge=3.0, intercept=True, weighted=True, temperature=0.3),
    Salt(global_ridge=1.0, ridge=3.0, similarity="mean"),
]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option).removeprefix("Salt"))
def test_rows_are_those_of_the_formula(option):
    world = World()
    made = world.rows(option.combine(world.material()))
    new = [n for n in range(ANCHORS, TARGET) if n != NO_ROW]
    if option.global_ridge is None and option.similarity == "auxiliary":
        new.remove(NO_VECTOR)
    for token in new:
        assert made[token] == pytest.approx(expected_row(world, token, option), abs=2e-5), token
    for token in range(ANCHORS):
        assert (made[token] == world.source[SOURCE - 1 - token]).all()


@pytest.mark.parametrize("width", [12, 60])
def test_a_global_map_alone_makes_tokens_without_a_vector(width):
    """More donor dimensions than anchors, too: then the map of ridge 0 is the one of minimum norm."""
    world = World(width=width)
    combined = Salt(global_ridge=0.0).combine(world.material())
    row = world.rows(combined)[NO_VECTOR]
    a, b = world.donor[TEXT], world.anchor_rows(TEXT)
    a0, b0 = a.mean(0), b.mean(0)
    assert row == pytest.approx((world.donor[NO_VECTOR] - a0) @ np.linalg.pinv(a - a0) @ (b - b0) + b0, abs=1e-4)
    assert combined.lengths[combined.target_ids.tolist().index(NO_VECTOR)] == 0
    assert NO_ROW not in combined.target_ids


def test_an_exact_affine_relation_is_found():
    """If the source's rows are an affine image of the donor's, so are the new ones: locally there is nothing to add."""
    world = World()
    image = np.random.default_rng(8).normal(size=(12, 9))
    world.source[SOURCE - 1 - np.arange(ANCHORS)] = world.donor[:ANCHORS] @ image + 5
    made = world.rows(Salt(global_ridge=0.0, ridge=0.5).combine(world.material()))
    for token in range(ANCHORS, TARGET):
        if token != NO_ROW:
            assert made[token] == pytest.approx(world.donor[token] @ image + 5, abs=1e-4)


@pytest.mark.parametrize("norms", ["kept", "factor"])
def test_norms_reach_the_plan(norms):
    world = World()
    combined = Salt(ridge=0.3, norms=norms).combine(world.material())
    assert combined.norms is Norms(norms)
    made, plain = world.rows(combined), world.rows(Salt(ridge=0.3).combine(world.material()))
    rows = combined.target_ids
    text = [n for n in range(ANCHORS) if n != BYTE_ANCHOR]
    wanted = np.linalg.norm(world.anchor_rows(text), axis=1).mean()
    found, before = (np.linalg.norm(table[rows], axis=1) for table in (made, plain))
    if norms == "kept":
        assert (made[rows] == plain[rows]).all()
    if norms == "factor":
        assert found == pytest.approx(before * wanted / before.mean(), rel=1e-6)


def test_the_paper_is_the_default_and_needs_no_source_table():
    assert Salt() == make_method("salt")
    material = World().material()
    combined = Salt().combine(
        MethodInputs(
            **{name: getattr(material, name) for name in ("source", "target", "anchors", "read_donor")},
            read_auxiliary=material.read_auxiliary,
            read_source=lambda: pytest.fail("not needed"),
        )
    )
    assert (combined.norms, combined.low_rank, combined.head_values) == (Norms.KEPT, None, None)
    assert combined.fallback is Provenance.SAMPLED
    assert combined.facts == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"similarity": "cosine"}, "similarity is 'cosine', expected one of auxiliary, donor, mean"),
        ({"norms": "long"}, "norms is 'long', expected one of kept, factor"),
        ({"drop_anchors": "all"}, "drop_anchors is 'all', expected one of none, undertrained"),
        ({"global_ridge": -1.0}, "global_ridge is -1.0, expected a finite number of at least 0"),
        ({"global_ridge": float("nan")}, "global_ridge is nan"),
        ({"minimum_neighbours": -1}, "minimum_neighbours is -1, expected a whole number of at least 0"),
    ],
)
def test_bad_options(given, message):
    with pytest.raises(InputError, match=message):
        Salt(**given)
